"""The program that runs inside the interpreter of a task and calls the script's `run()`.

It owns four things: the command line below, loading one script file, turning what `run()` returned
into JSON, and the records that the scheduler reads. It is one file with no dependencies, because it
runs under whatever interpreter a task has (Python 3.9 and later), and its start-up time is paid by
every run: hence no argparse, json, traceback or asyncio until one is really needed.

    python -I -X utf8 runner_shim.py PATH [--code FILE] [--root DIR] [--name TASK]
        [--arguments JSON] [--wait] [--asyncio] [--no-value] [--max-value-bytes N]
    python -I -X utf8 runner_shim.py --inspect     one JSON line out per JSON line in; runs nothing
    python -I -X utf8 runner_shim.py --probe       one JSON line that describes the interpreter

Records go to the original standard output, which is first moved to a private descriptor; after that
descriptors 1 and 2 are both the log. A record is 0x1e, one ASCII JSON object, LF.

Exit codes: 0 a success was sent, 1 a failure was sent, N the script called sys.exit(N),
2 a wrong command line, 120 the result channel was lost.

The syntax of this file must parse on Python 3.6, so that `--probe` can say which Python is too old.
"""

# pathlib costs more to import than everything that is done here.
# ruff: noqa: PTH100, PTH118, PTH119, PTH120, PTH122, PTH123

import _signal
import atexit
import os
import sys
from _frozen_importlib import ModuleSpec, module_from_spec
from _frozen_importlib_external import (
    MAGIC_NUMBER,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
    spec_from_file_location,
)

OLDEST = (3, 9)
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CHANNEL_LOST = 120
SIGTERM = 15

DEFAULT_VALUE_BYTES = 1 << 20
LARGEST_VALUE_BYTES = 64 << 20
LARGEST_MESSAGE_BYTES = 8 << 10
LARGEST_TRACEBACK_BYTES = 64 << 10
LARGEST_INTEGER_BITS = 4096
# A script of one megabyte that is all numbers takes a third of it.
INSPECT_BYTES = 1 << 30
MOST_ITEMS = 1000000
MOST_WARNINGS = 20
DEEPEST = 64

# What a process started by `multiprocessing` must know to import the script again.
TASK_VARIABLE = "DROPCRON_SHIM_TASK"
PACKAGE = "taskfiles"

# Scripts replace functions of `os` and `sys`, by design (gevent) or by accident. What is needed
# after the script has had its turn is therefore bound here, before.
_close, _dup2, _exit, _fstat = os.close, os.dup2, os._exit, os.fstat
_getpid, _read, _write = os.getpid, os.read, os.write
_set_blocking = os.set_blocking
_modules = sys.modules
_set_recursion_limit, _set_trace, _set_profile = sys.setrecursionlimit, sys.settrace, sys.setprofile


# --- Text ---------------------------------------------------------------------------------------


def replace_unstorable(text):
    """Replace what Postgres cannot store in text: NUL and lone surrogates."""
    if text.isascii():
        return text.replace("\0", "\ufffd") if "\0" in text else text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)
    return text.replace("\0", "\ufffd")


def quote(text):
    """One JSON string, in ASCII."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return '"' + text + '"'
    try:
        from _json import encode_basestring_ascii
    except ImportError:  # another implementation than CPython
        from json.encoder import py_encode_basestring_ascii as encode_basestring_ascii
    return encode_basestring_ascii(text)


def clip(text, limit, tail=0):
    """At most about `limit` bytes of UTF-8: the beginning, and `tail` bytes of the end."""
    data = replace_unstorable(text).encode("utf-8")
    if len(data) <= limit:
        return data.decode("utf-8")
    mark = f"\n[... {len(data) - limit} bytes left out ...]\n"
    head = data[: limit - tail - len(mark)].decode("utf-8", "ignore")
    return head + mark + (data[-tail:].decode("utf-8", "ignore") if tail else "")


def encode_record(value):
    """JSON of a record of this file's own making: plain dict, list, str, int, bool and None."""
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    kind = type(value)
    if kind is str:
        return quote(replace_unstorable(value))
    if kind is int:
        return int.__repr__(value)
    if kind is RawJson:
        return value.text
    if kind is dict:
        return "{" + ",".join(quote(k) + ":" + encode_record(v) for k, v in value.items()) + "}"
    return "[" + ",".join([encode_record(item) for item in value]) + "]"


class RawJson:
    """Text that is JSON already."""

    __slots__ = ("text",)

    def __init__(self, text):
        self.text = text


class Notes:
    """The first warnings of a run, and how many more there were."""

    def __init__(self):
        self.texts = []
        self.more = 0

    def add(self, text):
        if len(self.texts) < MOST_WARNINGS:
            self.texts.append(clip(text, 500))
        else:
            self.more += 1

    def all(self):
        return self.texts + ([f"and {self.more} more"] if self.more else [])


# --- Values -------------------------------------------------------------------------------------


class TooLargeError(Exception):
    """The encoded value passed the largest size that is even counted."""


class ValueEncoder:
    """Turns any value into JSON that Postgres takes, and notes what had to change.

    A run that has finished never fails because of its value: what has no JSON form becomes text.
    """

    def __init__(self, notes, limit):
        self.notes = notes
        self.limit = limit
        self.pieces = []
        self.size = 0
        self.path = []
        self.open_containers = set()

    def encode(self, value):
        """The JSON text, or None (with a warning) when it is larger than the limit."""
        complete = True
        try:
            self.any(value)
        except TooLargeError:
            complete = False
        if complete and self.size <= self.limit:
            return "".join(self.pieces)
        self.notes.add(
            f"$: the value was left out: its JSON has {'' if complete else 'more than '}{self.size}"
            f" bytes, the limit is {self.limit}; it begins {self.beginning()}"
        )
        return None

    def beginning(self):
        text = ""
        for piece in self.pieces:
            text += piece[:200]
            if len(text) >= 200:
                break
        return text[:200]

    def put(self, text):
        # What lies beyond the limit is counted but not kept.
        if self.size <= self.limit:
            self.pieces.append(text)
        self.size += len(text)
        if self.size > LARGEST_VALUE_BYTES:
            raise TooLargeError

    def note(self, text):
        if self.notes.more:  # the path is not worth building: the text will not be kept
            self.notes.more += 1
            return
        steps = [s if type(s) is str else f"[{s}]" for s in self.path]
        self.notes.add("$" + "".join(steps) + ": " + text)

    def any(self, value):
        kind = type(value)
        if kind is str:
            self.text(value)
        elif value is None:
            self.put("null")
        elif kind is bool:
            self.put("true" if value else "false")
        elif kind is int:
            self.integer(value)
        elif kind is float:
            self.float(value)
        elif kind is dict:
            self.container(value, self.mapping, list(value.items()))
        elif kind is list or kind is tuple:
            self.container(value, self.array, value)
        else:
            self.other(value)

    def text(self, value):
        self.put(quote(self.clean(value)))

    def clean(self, text):
        cleaned = replace_unstorable(text)
        if cleaned != text:
            what = "NUL" if "\0" in text else "a lone surrogate"
            self.note(what + " became U+FFFD")
        return cleaned

    def integer(self, value):
        if int.bit_length(value) > LARGEST_INTEGER_BITS:
            self.note(f"an integer of {int.bit_length(value)} bits became hexadecimal text")
            self.put('"' + hex(value) + '"')
        else:
            self.put(int.__repr__(value))

    def float(self, value):
        if value != value:
            self.note("NaN became null")
            self.put("null")
        elif value in (float("inf"), float("-inf")):
            self.note("an infinity became null")
            self.put("null")
        else:
            self.put(float.__repr__(value))

    def container(self, owner, encode, content):
        """Encode what `owner` holds, unless it holds itself or lies too deep."""
        if id(owner) in self.open_containers:
            self.note("a circular reference became text")
            self.put('"<circular reference>"')
        elif len(self.open_containers) >= DEEPEST:
            self.note(f"what is nested deeper than {DEEPEST} levels became text")
            self.put('"<nested too deep>"')
        else:
            self.open_containers.add(id(owner))
            try:
                encode(content)
            finally:
                self.open_containers.discard(id(owner))

    def array(self, items):
        if len(items) > 32:
            text = encode_flat(items)
            if text is not None:
                self.put(text)
                return
        self.put("[")
        path = self.path
        path.append(0)
        for index, item in enumerate(items):
            if index:
                self.put(",")
            path[-1] = index
            self.any(item)
        path.pop()
        self.put("]")

    def mapping(self, pairs):
        self.put("{")
        path = self.path
        path.append("")
        seen = set()
        for index, (key, item) in enumerate(pairs):
            if index:
                self.put(",")
            name = self.key(key)
            path[-1] = "." + name
            if name in seen:
                self.note("the key occurs more than once")
            seen.add(name)
            self.put(quote(name) + ":")
            self.any(item)
        path.pop()
        self.put("}")

    def key(self, key):
        """JSON keys are text; numbers, booleans and None as Python's json module has them."""
        if type(key) is str:
            cleaned = replace_unstorable(key)
            if cleaned != key:
                self.path[-1] = "." + cleaned
                self.clean(key)  # for its note
            return cleaned
        if key is None or key is True or key is False:
            return {None: "null", True: "true", False: "false"}[key]
        if type(key) is int and key.bit_length() <= LARGEST_INTEGER_BITS:
            return int.__repr__(key)
        kind = type_name(key)
        key = key.value if is_instance_of(key, "enum", "Enum") else key
        self.path[-1] = f".<{kind}>"
        text = self.clean(self.leaf_text(key))
        if type(key) is not str:
            self.note(f"a key of type {kind} became text")
        return text

    def other(self, value):
        """A value of a type that JSON does not know."""
        mark = len(self.pieces), self.size, len(self.path)
        try:
            converted = convert(value)
        except BaseException as error:
            converted = None
            self.note(f"{type_name(value)} could not be converted: {type_name(error)}")
        if converted is None:
            self.put(quote(self.clean(self.leaf_text(value))))
            if not has_good_text(value):
                self.note(f"a value of type {type_name(value)} became text")
            return
        form, content = converted
        if form is None:
            self.any(content)
            return
        if form in ("text", "base64"):
            if form == "base64":
                self.note("bytes that are no UTF-8 became base64 text")
            self.text(content)
            return
        try:
            # A level of its own for each conversion, lest objects that make new ones never end.
            if form == "iterator":
                form, content = "array", self.drain(content)
            encode = {"mapping": self.mapping, "array": self.array, "value": self.any}[form]
            self.container(value, encode, content)
        except TooLargeError:
            raise
        except BaseException as error:
            # Reading it failed half-way (an iterator that raises): take back what was written.
            del self.pieces[mark[0] :]
            self.size = mark[1]
            del self.path[mark[2] :]
            self.note(f"{type_name(value)} could not be read: {type_name(error)}")
            self.put(quote(self.clean(self.leaf_text(value))))

    def drain(self, iterator):
        items, more = first_items(iterator)
        if more:
            self.note(f"only the first {MOST_ITEMS} items were taken")
        return items

    def leaf_text(self, value):
        try:
            text = str(value)
            return str.__str__(text)
        except BaseException as error:
            self.note(f"{type_name(value)} has no text: str() raised {type_name(error)}")
            return f"<{type_name(value)}>"


PLAIN = {int, float, str, bool, type(None)}


def encode_flat(items):
    """JSON of a long list of plain values by the C encoder, or None if any needs a conversion."""
    kinds = set(map(type, items))
    if not kinds <= PLAIN:
        return None
    try:
        from _json import encode_basestring_ascii, make_encoder

        if int in kinds:
            integers = items if kinds == {int} else [item for item in items if type(item) is int]
            if max(map(int.bit_length, integers)) > LARGEST_INTEGER_BITS:
                return None
        encode = make_encoder(
            None, None, encode_basestring_ascii, None, ":", ",", False, False, False
        )
        text = "".join(encode(list(items), 0))
    except Exception:  # NaN, or a private interface that has changed
        return None
    # NUL or half of a surrogate pair (or a whole one, or a backslash: then slower, not wrong).
    return None if "\\u0000" in text or "\\ud" in text else text


def type_name(value):
    try:
        return str.__str__(type(value).__name__)
    except BaseException:
        return "object"


def is_instance_of(value, module, name):
    """isinstance() with a class of a module that may never have been imported."""
    kind = getattr(_modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(value, kind)


def convert(value):
    """One step of conversion: (form, content), or None when only str() is left.

    The form is "text", "mapping" (pairs), "array" (items), "value" (again any value, one level
    deeper) or None (again any value, which is sure to be a plain one).
    """
    if is_instance_of(value, "enum", "Enum"):
        return "value", value.value
    if isinstance(value, str):
        return None, str.__str__(value)
    if isinstance(value, int):
        return None, int.__add__(value, 0)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return convert_bytes(bytes(value))
    kind = type(value)
    package = str(kind.__module__).partition(".")[0]
    if package in ("numpy", "pandas", "polars"):
        found = convert_table(value, package)
        if found is not None:
            return found
    if isinstance(value, float):
        return None, float.__add__(value, 0.0)
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return "mapping", list(zip(kind._fields, value))
    if hasattr(kind, "__dataclass_fields__"):
        return "mapping", attributes(value, kind.__dataclass_fields__)
    if hasattr(kind, "__attrs_attrs__"):
        return "mapping", attributes(value, [field.name for field in kind.__attrs_attrs__])
    if hasattr(kind, "model_dump") and hasattr(kind, "__pydantic_fields__"):
        return "value", value.model_dump()
    if hasattr(kind, "__fields__") and hasattr(kind, "dict"):  # pydantic 1
        return "value", value.dict()
    return convert_standard(value, kind)


def convert_standard(value, kind):
    if isinstance(value, dict):
        return "mapping", list(dict.items(value))
    if isinstance(value, (list, tuple, set, frozenset, range)) or kind in PLAIN_VIEWS:
        return "array", list(value)
    if is_instance_of(value, "_collections", "deque"):
        return "array", list(value)
    if kind in PLAIN_ITERATORS:
        return "iterator", value
    for name in ("date", "time"):
        if is_instance_of(value, "datetime", name):
            return "text", value.isoformat()
    if hasattr(kind, "keys") and hasattr(kind, "__getitem__"):
        return "mapping", [(key, value[key]) for key in value.keys()]  # noqa: SIM118
    return None


PLAIN_VIEWS = (type({}.keys()), type({}.values()), type({}.items()))
PLAIN_ITERATORS = (map, filter, zip, enumerate, reversed, type(None for _ in ()))


def convert_bytes(data):
    try:
        return "text", data.decode("utf-8")
    except UnicodeDecodeError:
        from binascii import b2a_base64

        return "base64", b2a_base64(data, newline=False).decode("ascii")


def convert_table(value, package):
    """numpy, pandas and polars, known by the name of the type's module: never imported here."""
    kind = type(value)
    if kind.__name__ in ("NAType", "NaTType"):
        return None, None
    if package == "pandas":
        if kind.__name__ == "DataFrame":
            return "value", value.to_dict("records")
        if kind.__name__ == "Series":
            return "value", value.to_dict()
    if kind.__name__ == "DataFrame" and hasattr(kind, "to_dicts"):
        return "value", value.to_dicts()
    if package == "numpy" and getattr(getattr(value, "dtype", None), "kind", "") in ("m", "M"):
        return "value", value.astype(str).tolist()  # dates: tolist() may give bare nanoseconds
    for method in ("tolist", "to_list"):
        if hasattr(kind, method):
            return "value", getattr(value, method)()
    return None


def attributes(value, names):
    return [(name, getattr(value, name)) for name in names if hasattr(value, name)]


def first_items(iterator):
    """At most MOST_ITEMS items, and whether there were more."""
    items = []
    for item in iterator:
        if len(items) >= MOST_ITEMS:
            return items, True
        items.append(item)
    return items, False


def has_good_text(value):
    """Types whose str() says everything: no warning is due."""
    return (
        isinstance(value, complex)
        or is_instance_of(value, "decimal", "Decimal")
        or is_instance_of(value, "uuid", "UUID")
        or is_instance_of(value, "datetime", "timedelta")
        or is_instance_of(value, "pathlib", "PurePath")
        or is_instance_of(value, "fractions", "Fraction")
    )


# --- Descriptors and records --------------------------------------------------------------------


class Channel:
    """The original standard output, out of the script's reach."""

    def __init__(self):
        self.descriptor = move_away(1)
        self.identity = identity_of(self.descriptor)

    def is_ours(self):
        """After os.closerange() the number may belong to the script's own file."""
        return identity_of(self.descriptor) == self.identity

    def send(self, record):
        if not self.is_ours():
            return False
        data = memoryview(("\x1e" + encode_record(record) + "\n").encode("ascii"))
        while data:
            try:
                data = data[_write(self.descriptor, data) :]
            except BlockingIOError:
                _set_blocking(self.descriptor, True)
            except OSError:
                return False
        return True

    def close(self):
        if self.is_ours():
            _close(self.descriptor)


_own_streams = []


def identity_of(descriptor):
    try:
        status = _fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def move_away(descriptor):
    """A close-on-exec copy with a number of 100 or more, where no script counts on being."""
    for number in range(100, 200):
        if identity_of(number) is None:
            try:
                return _dup2(descriptor, number, False)
            except OSError:
                break  # the limit on descriptors is below 100
    return os.dup(descriptor)


def open_log_streams():
    """Point descriptor 1 at the log, and replace sys.stdout and sys.stderr.

    New objects, because the old ones remember whether their file could seek. Line buffering keeps
    the order of what print(), C code and child processes write.
    """
    if identity_of(2) is None:
        null = os.open(os.devnull, os.O_WRONLY)
        if null != 2:
            _dup2(null, 2)
    _dup2(2, 1)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        stream = open(  # noqa: SIM115 - it stays open for the life of the process
            descriptor, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False
        )
        _own_streams.append(stream)
        setattr(sys, name, stream)
        setattr(sys, "__" + name + "__", stream)


def open_null_input():
    """Make descriptor 0 /dev/null, so that input() raises EOFError instead of waiting."""
    null = os.open(os.devnull, os.O_RDONLY)
    if null == 0:
        os.set_inheritable(0, True)
    else:
        _dup2(null, 0)
        _close(null)
    if sys.stdin is None:
        sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115


def flush_streams():
    for stream in (getattr(sys, "stdout", None), getattr(sys, "stderr", None), *_own_streams):
        try:  # noqa: SIM105 - contextlib costs an import
            stream.flush()
        except BaseException:  # closed, or not even a stream
            pass


# --- Loading ------------------------------------------------------------------------------------


class RefusedError(Exception):
    """A script that cannot be run, in words for its author."""

    def __init__(self, reason, message):
        super().__init__(message)
        self.reason = reason


class LiveLoader(SourceFileLoader):
    """Compiles what is on disk now.

    The stock loader trusts a cached .pyc of the same size and whole second, which is stale code
    when a file was saved twice within one second.
    """

    def get_code(self, fullname):
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


class ScriptLoader(SourceFileLoader):
    """Executes the code that was compiled from the given bytes."""

    def __init__(self, fullname, script):
        super().__init__(fullname, script.path)
        self.script = script

    def get_code(self, fullname):
        return self.script.code

    def get_source(self, fullname):
        from importlib.util import decode_source

        return decode_source(self.script.data) if self.script.suffix == ".py" else None


class Script:
    """One script file: its names, its bytes and its code."""

    def __init__(self, path, code_path, root, task):
        self.path = path
        self.code_path = code_path
        self.root = root
        self.folder = os.path.dirname(path)
        self.suffix = os.path.splitext(path)[1]
        if self.suffix not in (".pyc", ".so"):
            self.suffix = ".py"
        self.packages = self.list_packages()
        self.module_name = ".".join([*(name for name, _ in self.packages[-1:]), self.leaf(task)])
        self.data = None
        self.code = None
        self.sha256 = None

    def leaf(self, task):
        if self.suffix == ".so":  # its init function is called PyInit_<stem>
            return os.path.basename(self.path).partition(".")[0]
        return module_part(task.rpartition("/")[2])

    def list_packages(self):
        """(name, folder) of the synthetic packages, outermost first."""
        if not self.root or not (self.folder + "/").startswith(self.root.rstrip("/") + "/"):
            return [(PACKAGE, self.folder)]
        name, folder = PACKAGE, self.root.rstrip("/") or "/"
        packages = [(name, folder)]
        for part in self.folder[len(self.root.rstrip("/")) :].split("/"):
            if part:
                name, folder = name + "." + module_part(part), os.path.join(folder, part)
                packages.append((name, folder))
        return packages

    def read(self):
        descriptor = os.open(self.code_path, os.O_RDONLY | os.O_CLOEXEC)
        with open(descriptor, "rb", 0) as file:
            self.data = file.readall()

    def hash(self):
        try:
            if sys.version_info >= (3, 12):
                from _sha2 import sha256
            else:
                from _sha256 import sha256
        except ImportError:
            from hashlib import sha256
        self.sha256 = sha256(self.data).hexdigest()

    def compile(self):
        """Compile the bytes; nothing of them is executed."""
        if self.suffix == ".py":
            self.code = compile(self.data, self.path, "exec", dont_inherit=True)
        elif self.suffix == ".pyc":
            self.code = self.unmarshal()

    def unmarshal(self):
        if self.data[:4] != MAGIC_NUMBER:
            raise RefusedError(
                "load_failed",
                f"{os.path.basename(self.path)} was compiled by another Python version;"
                f" this is Python {python_version()}",
            )
        import marshal

        code = marshal.loads(memoryview(self.data)[16:])
        if type(code) is not type(module_part.__code__):
            raise ImportError(f"{self.path} holds no code", path=self.path)
        return code

    def check_tag(self, notes):
        """Refuse an extension built for another Python, as far as its name tells."""
        import _imp

        suffixes = _imp.extension_suffixes()
        name = os.path.basename(self.path)
        tag = name[len(name.partition(".")[0]) :]
        if tag in suffixes and tag != ".so":
            return
        if any(mark in tag for mark in ("cpython-", "pypy", "graalpy", ".cp3")):
            raise RefusedError(
                "load_failed",
                f"{name} was built for another Python; this one, {python_version()},"
                f" takes names that end in {suffixes[0]}",
            )
        notes.add(
            f"{name} does not say for which Python it was built:"
            f" name it {name.partition('.')[0]}{suffixes[0]}"
        )

    def install(self):
        """Make the packages and the path entries by which siblings are imported."""
        sys.path_hooks.insert(0, self.find_beside)
        for folder in (self.folder, self.root):
            # At the end: a sibling called email.py must not shadow the standard library.
            if folder and folder not in sys.path:
                sys.path.append(folder)
            sys.path_importer_cache.pop(folder, None)
        above = None
        for name, folder in self.packages:
            spec = ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = [folder]
            package = module_from_spec(spec)
            _modules[name] = package
            if above is not None:
                setattr(above, name.rpartition(".")[2], package)
            above = package

    def find_beside(self, folder):
        """A path hook: modules in the scripts directory are compiled from what is on disk now."""
        root = self.root or self.folder
        if (
            not (folder + "/").startswith(root.rstrip("/") + "/")
            or "/site-packages" in folder
            or (folder + "/").startswith(sys.prefix + "/")
        ):
            raise ImportError("not in the scripts directory")
        from _imp import extension_suffixes

        return FileFinder(
            folder,
            (ExtensionFileLoader, extension_suffixes()),
            (LiveLoader, [".py"]),
            (SourcelessFileLoader, [".pyc"]),
        )

    def spec(self):
        if self.suffix == ".so":
            loader = ExtensionFileLoader(self.module_name, self.code_path)
            return ModuleSpec(self.module_name, loader, origin=self.code_path)
        loader = ScriptLoader(self.module_name, self)
        return spec_from_file_location(self.module_name, self.path, loader=loader)

    def load(self):
        spec = self.spec()
        module = module_from_spec(spec)
        module.__file__ = self.path
        _modules[spec.name] = module
        setattr(_modules[self.packages[-1][0]], spec.name.rpartition(".")[2], module)
        spec.loader.exec_module(module)
        # A module may put another object in its place, as importlib allows.
        return _modules.get(spec.name, module)

    def feed_linecache(self):
        """Let tracebacks show the lines that ran, whatever the file holds by now."""
        if self.suffix != ".py" or self.data is None:
            return
        import linecache
        from importlib.util import decode_source

        try:
            lines = decode_source(self.data).splitlines(True)
        except (SyntaxError, UnicodeDecodeError, LookupError):
            return
        linecache.cache[self.path] = (len(self.data), None, lines, self.path)

    def own_file(self):
        return self.code.co_filename if self.code is not None else self.path


def module_part(text):
    """A task name as one part of a dotted module name."""
    return text.replace("%", "%25").replace(".", "%2E")


def python_version():
    return "{}.{}.{}".format(*sys.version_info[:3])


class ScriptFinder:
    """Finds the script by its module name in a process that `multiprocessing` started."""

    def __init__(self, script):
        self.script = script

    def find_spec(self, fullname, path=None, target=None):
        if fullname != self.script.module_name:
            return None
        self.script.read()
        self.script.compile()
        return self.script.spec()


def restore_in_child():
    """Called when `multiprocessing` imports this file again as the main module of a new process."""
    fields = os.environ.get(TASK_VARIABLE, "").split("\x1f")
    if len(fields) == 4:
        script = Script(*fields)
        script.install()
        sys.meta_path.insert(0, ScriptFinder(script))
        # Such processes often end by SIGTERM, which would lose what print() had buffered.
        sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")


# --- Running ------------------------------------------------------------------------------------


class Terminated(SystemExit):
    """Raised in the script when SIGTERM arrives.

    A SystemExit, because asyncio lets only that and KeyboardInterrupt out of a running loop.
    """


class Run:
    """One call of run(), and the one result record that it makes."""

    def __init__(self, channel, script, options):
        self.channel = channel
        self.script = script
        self.options = options
        self.arguments = {}
        self.problem = None
        self.notes = Notes()
        self.pid = _getpid()
        self.done = False
        self.terminated = False
        self.lost = False
        self.exit_code = 0
        self.loop = None
        self.main_task = None

    def prepare(self):
        """All that can be done before the go: nothing of the script is executed."""
        if self.options["arguments"] not in (None, "", "{}"):
            self.arguments = parse_arguments(self.options["arguments"])
        try:
            self.script.read()
            self.script.hash()
            self.script.compile()
            if self.script.suffix == ".so":
                self.script.check_tag(self.notes)
        except BaseException as error:
            self.problem = error
        if self.options["asyncio"]:
            import asyncio  # noqa: F401

    def hook_process(self):
        _signal.signal(SIGTERM, self.on_sigterm)
        os.register_at_fork(after_in_child=self.after_fork)
        script = self.script
        os.environ[TASK_VARIABLE] = "\x1f".join(
            (script.path, script.code_path, script.root or "", self.options["name"])
        )
        sys.argv = [script.path]

    def after_fork(self):
        """In a child of the script: the result is not its business, and SIGTERM just ends it."""
        self.channel.close()
        if _signal.getsignal(SIGTERM) == self.on_sigterm:
            _signal.signal(SIGTERM, _signal.SIG_DFL)

    def on_sigterm(self, signum, frame):
        if self.done:
            return
        self.terminated = True
        loop, task = self.loop, self.main_task
        if loop is not None and _modules["asyncio"].current_task(loop) is not task:
            loop.call_soon_threadsafe(task.cancel)
            return
        raise Terminated(128 + SIGTERM)

    def perform(self):
        """Load the script, call run(), send the result."""
        reason = "load_failed"
        try:
            if self.problem is not None:
                raise self.problem
            self.script.install()
            module = self.script.load()
            if "linecache" in _modules:
                self.script.feed_linecache()
            function = find_run(module, self.arguments)
            reason = "raised"
            value = function(**self.arguments)
            if is_async(value):
                self.run_loop(value)
            else:
                self.succeed(self.settle(value))
        except BaseException as error:
            if self.done:
                print_late(error)
            else:
                self.fail(error, reason)

    def settle(self, value):
        """A generator is drained, else its body would silently never run."""
        name = type_name(value)
        if type(value) is GENERATOR:
            items, more = first_items(value)
            if more:
                self.notes.add(f"$: the generator was stopped after {MOST_ITEMS} items")
                value.close()
            value = items
        elif is_instance_of(value, "concurrent.futures", "Future"):
            value = value.result()
            name = type_name(value)
        return name, value

    def run_loop(self, value):
        """Await on a loop of asyncio. The result leaves before the loop is taken down."""
        import gc

        collecting = gc.isenabled()
        gc.disable()  # a collection in the middle of this import finds nothing
        import asyncio

        if collecting:
            gc.enable()
        if isinstance(value, asyncio.Future):
            # It belongs to a loop that the script made.
            value.get_loop().run_until_complete(self.drive(asyncio, value))
        else:
            asyncio.run(self.drive(asyncio, value))

    async def drive(self, asyncio, value):
        self.main_task = asyncio.current_task()
        self.loop = asyncio.get_running_loop()
        try:
            while is_async(value):
                if type(value) is ASYNC_GENERATOR:
                    value = await self.drain(value)
                else:
                    value = await value
            settled = self.settle(value)
        except BaseException as error:
            self.fail(error, "raised")
        else:
            self.succeed(settled)
        finally:
            self.loop = None

    async def drain(self, generator):
        items = []
        async for item in generator:
            if len(items) >= MOST_ITEMS:
                self.notes.add(f"$: the generator was stopped after {MOST_ITEMS} items")
                await generator.aclose()
                break
            items.append(item)
        return items

    def begin_result(self, error=None):
        """From here on the script no longer has a say."""
        self.done = True
        if _getpid() != self.pid:
            leave_forked_child(error)
        _set_trace(None)
        _set_profile(None)
        _set_recursion_limit(max(sys.getrecursionlimit(), 1000))

    def succeed(self, settled):
        self.begin_result()
        name, value = settled
        text = None
        if value is not None and not self.options["no_value"]:
            text = self.encode(value)
        self.send(
            {
                "v": 1,
                "record": "result",
                "status": "succeeded",
                "value": RawJson(text or "null"),
                "has_value": value is not None and not self.options["no_value"],
                "type": name,
            }
        )

    def encode(self, value):
        try:
            return ValueEncoder(self.notes, self.options["max_value_bytes"]).encode(value)
        except BaseException as error:
            self.notes.add(f"$: the value was left out: {type_name(error)} while encoding")
            return None

    def fail(self, error, reason):
        code = number = None
        if isinstance(error, SystemExit) and not self.terminated:
            code = exit_status(error)
            if code == 0:
                self.succeed(("NoneType", None))
                return
        self.begin_result(error)
        if self.terminated:
            reason, number = "signal", SIGTERM
            described = describe(error, self.script)
            described["type"] = "Terminated"
            described["message"] = "the script was stopped by SIGTERM"
        elif code is not None:
            reason = "exited"
            described = describe(error, self.script)
            if isinstance(error.code, int):
                described["message"] = f"the script called sys.exit({code})"
        else:
            if isinstance(error, RefusedError):
                reason = error.reason
            described = describe(error, self.script)
        self.exit_code = code or EXIT_FAILED
        self.send(
            {
                "v": 1,
                "record": "result",
                "status": "failed",
                "reason": reason,
                "error": described,
                "exit_code": code,
                "signal": number,
            }
        )

    def send(self, record):
        record["warnings"] = self.notes.all()
        record["script_sha256"] = self.script.sha256
        self.lost = not self.channel.send(record)

    def tear_down(self):
        """What the interpreter does at its end, without the slow and crash-prone rest of it.

        Threads first, then atexit, as in the interpreter: the other way round a process pool that
        was not shut down waits for itself.
        """
        if _signal.getsignal(SIGTERM) == self.on_sigterm:
            _signal.signal(SIGTERM, _signal.SIG_DFL)
        flush_streams()
        threading = _modules.get("threading")
        try:
            if threading is not None:
                threading._shutdown()
        except BaseException as error:
            print_late(error)
        try:  # noqa: SIM105 - contextlib costs an import
            atexit._run_exitfuncs()
        except BaseException:  # it has printed what went wrong
            pass
        flush_streams()
        _exit(EXIT_CHANNEL_LOST if self.lost else self.exit_code)


async def _async_generator():
    yield


GENERATOR = type(None for _ in ())
ASYNC_GENERATOR = type(_async_generator())


def is_async(value):
    kind = type(value)
    if kind is ASYNC_GENERATOR or hasattr(kind, "__await__"):
        return True
    # A generator made by types.coroutine: CO_ITERABLE_COROUTINE.
    return kind is GENERATOR and bool(value.gi_code.co_flags & 0x100)


def find_run(module, arguments):
    function = getattr(module, "run", None)
    if function is None and not hasattr(module, "run"):
        raise RefusedError("no_run", "the script has no function called run")
    if not callable(function):
        raise RefusedError(
            "run_not_callable", "run is not a function but of type " + type_name(function)
        )
    check_arguments(function, arguments)
    return function


def check_arguments(function, arguments):
    """By the code object, because importing inspect costs more than everything else here."""
    plain = type(check_arguments)
    bound = type(function) is not plain
    if bound:  # a method, or an object with __call__
        function = getattr(function, "__func__", None) or type(function).__call__
        if type(function) is not plain:
            return
    code, defaults = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount][1 if bound else 0 :]
    first = 1 if bound else 0
    required = list(code.co_varnames[first : max(code.co_argcount - len(defaults), first)])
    positional = code.co_varnames[: code.co_posonlyargcount]
    keyword = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    required += [name for name in keyword if name not in (function.__kwdefaults__ or {})]
    missing = [name for name in required if name not in arguments or name in positional]
    if missing:
        raise RefusedError(
            "run_needs_args", "run() needs arguments that it was not given: " + ", ".join(missing)
        )
    takes = {name for name in (*names, *keyword) if name not in positional}
    unknown = [name for name in arguments if name not in takes]
    if unknown and not code.co_flags & 0x08:  # CO_VARKEYWORDS
        raise RefusedError("run_needs_args", "run() does not take: " + ", ".join(unknown))


def exit_status(error):
    """The exit code that the interpreter would have made of this SystemExit."""
    code = error.code
    if code is None:
        return 0
    if not isinstance(code, int):
        return 1
    return (code & 0xFF or 1) if code else 0


def leave_forked_child(error):
    """os.fork() in the script, and the child came back too: end it as an interpreter would."""
    status = 0
    if isinstance(error, SystemExit):
        status = exit_status(error)
    elif error is not None:
        print_late(error)
        status = 1
    flush_streams()
    _exit(status)


def print_late(error):
    """Something failed after the result had left: it can only be logged."""
    try:
        import traceback

        traceback.print_exception(type(error), error, error.__traceback__)
    except BaseException:
        pass


# --- Errors -------------------------------------------------------------------------------------


def describe(error, script):
    return {
        "type": error_type(error, script),
        "message": clip(error_message(error), LARGEST_MESSAGE_BYTES),
        "traceback": clip(
            error_traceback(error, script), LARGEST_TRACEBACK_BYTES, LARGEST_TRACEBACK_BYTES // 2
        ),
    }


def error_type(error, script):
    if isinstance(error, RefusedError):
        return {"load_failed": "ImportError", "no_run": "AttributeError"}.get(
            error.reason, "TypeError"
        )
    kind = type(error)
    try:
        name, module = str(kind.__qualname__), str(kind.__module__)
    except BaseException:
        return type_name(error)
    return name if module in ("builtins", script.module_name) else module + "." + name


def error_message(error):
    try:
        return str.__str__(str(error))
    except BaseException as problem:
        return f"<str() of the exception raised {type_name(problem)}>"


def error_traceback(error, script):
    """The traceback from the first frame of the script's own file; frames of this file never."""
    if isinstance(error, RefusedError):
        return ""
    frames = first_own_frame(error.__traceback__, script)
    try:
        script.feed_linecache()
        import traceback

        return "".join(traceback.format_exception(type(error), error, frames))
    except BaseException:  # the script broke a module that this needs
        return plain_traceback(error, frames)


def first_own_frame(frames, script):
    own, here = script.own_file(), first_own_frame.__code__.co_filename
    found = frames
    while found is not None and found.tb_frame.f_code.co_filename != own:
        found = found.tb_next
    if found is not None:
        return found
    while frames is not None:
        name = frames.tb_frame.f_code.co_filename
        if name != here and not name.startswith("<frozen importlib"):
            return frames
        frames = frames.tb_next
    return None


def plain_traceback(error, frames):
    lines = ["Traceback (most recent call last):\n"]
    while frames is not None:
        code = frames.tb_frame.f_code
        lines.append(f'  File "{code.co_filename}", line {frames.tb_lineno}, in {code.co_name}\n')
        frames = frames.tb_next
    return "".join(lines) + f"{type_name(error)}: {error_message(error)}\n"


# --- Looking at scripts without running them ----------------------------------------------------


def inspect_lines():
    """--inspect: one JSON line out for each JSON line in, by parsing and compiling alone."""
    import json
    import warnings

    limit_memory(INSPECT_BYTES)
    warnings.simplefilter("ignore")
    for line in sys.stdin.buffer:
        if not line.strip():
            continue
        path = None
        try:
            request = json.loads(line)
            path = request["path"]
            found = inspect_file(path, request.get("code") or path, request.get("source"))
        except BaseException as error:
            found = {"run": None, "docstring": None, "problem": problem_of(error)}
        answer = {"path": path, **found, "python": python_version()}
        sys.stdout.buffer.write(encode_record(answer).encode("ascii") + b"\n")
        sys.stdout.buffer.flush()


def limit_memory(size):
    """Of this process, where the system knows such a limit."""
    try:
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_AS)
        if most != resource.RLIM_INFINITY:
            size = min(size, most)
        resource.setrlimit(resource.RLIMIT_AS, (size, most))
    except (ImportError, ValueError, OSError):
        pass


def inspect_file(path, code_path, source=None):
    """`source`: what is in the file, a character for each byte."""
    if path.endswith((".pyc", ".so")):
        return {"run": None, "docstring": None, "problem": None}
    import ast

    if source is None:
        with open(code_path, "rb") as file:
            data = file.read()
    else:
        data = source.encode("latin-1")
    if b"\0" in data:
        line = data[: data.index(b"\0")].count(b"\n") + 1
        problem = {"line": line, "column": None, "message": "the file holds a NUL byte"}
        return {"run": None, "docstring": None, "problem": problem}
    tree = compile(data, path, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
    compile(data, path, "exec", dont_inherit=True)  # the parser alone takes `return` anywhere
    docstring = ast.get_docstring(tree)
    return {"run": find_definition(ast, tree), "docstring": docstring, "problem": None}


def problem_of(error):
    if isinstance(error, SyntaxError):
        message = f"{type_name(error)}: {error.msg}"
        return {"line": error.lineno, "column": error.offset, "message": clip(message, 1000)}
    if isinstance(error, (RecursionError, MemoryError)):
        message = "the code is too large, or nested too deep, for the parser"
    else:
        message = f"{type_name(error)}: {error_message(error)}"
    return {"line": None, "column": None, "message": clip(message, 1000)}


def find_definition(ast, tree):
    """What the name `run` is bound to at module level; the last binding wins."""
    bindings = list(bindings_of_run(ast, tree.body))
    if not bindings:
        return None
    last = bindings[-1]
    if isinstance(last, ast.Delete):
        return None
    plain = isinstance(last, (ast.FunctionDef, ast.AsyncFunctionDef)) and not last.decorator_list
    certain = plain and (len(bindings) == 1 or last in tree.body)
    return {
        "async": isinstance(last, ast.AsyncFunctionDef) if certain else None,
        "line": last.lineno,
        "parameters": parameters_of(last.args) if certain else None,
    }


def bindings_of_run(ast, statements):
    stars = []
    found = False
    for node in statements:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names = [node.name]
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.asname or alias.name.partition(".")[0] for alias in node.names]
            if names == ["*"]:
                stars.append(node)
        else:
            names = stored_names(ast, node)
            for field in ("body", "handlers", "orelse", "finalbody", "cases"):
                for inner in bindings_of_run(ast, getattr(node, field, None) or ()):
                    found = True
                    yield inner
        if "run" in names:
            found = True
            yield node
    if not found:  # `from x import *` may well bring it
        yield from stars


def stored_names(ast, statement):
    """Names bound by the statement itself: assignment, for, with, walrus, del."""
    blocks = ("body", "handlers", "orelse", "finalbody", "cases")
    names = []
    for field, value in ast.iter_fields(statement):
        if field in blocks:
            continue
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, ast.AST):
                names += [
                    node.id
                    for node in ast.walk(part)
                    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)
                ]
    return names


def parameters_of(args):
    positional = [*getattr(args, "posonlyargs", []), *args.args]
    optional = len(args.defaults)
    found = [
        {"name": arg.arg, "kind": "positional", "required": index < len(positional) - optional}
        for index, arg in enumerate(positional)
    ]
    if args.vararg:
        found.append({"name": args.vararg.arg, "kind": "var_positional", "required": False})
    for arg, default in zip(args.kwonlyargs, args.kw_defaults):
        found.append({"name": arg.arg, "kind": "keyword", "required": default is None})
    if args.kwarg:
        found.append({"name": args.kwarg.arg, "kind": "var_keyword", "required": False})
    return found


def probe():
    """--probe: one JSON line about this interpreter; works on interpreters that are too old."""
    import _imp
    import json

    answer = {
        "version": python_version(),
        "version_info": list(sys.version_info[:3]),
        "implementation": sys.implementation.name,
        "cache_tag": sys.implementation.cache_tag,
        "executable": sys.executable,
        "ext_suffix": (_imp.extension_suffixes() or [None])[0],
    }
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


# --- Command line -------------------------------------------------------------------------------

FLAGS = ("--wait", "--asyncio", "--no-value")
OPTIONS = ("--code", "--root", "--name", "--arguments", "--max-value-bytes")


def refuse_command_line(message):
    sys.stderr.write("runner_shim: " + message + "\n")
    sys.stderr.flush()
    _exit(EXIT_USAGE)


def parse_command_line(words):
    options = {name[2:].replace("-", "_"): None for name in OPTIONS}
    options.update({name[2:].replace("-", "_"): False for name in FLAGS})
    paths = []
    words = iter(words)
    for word in words:
        if word in FLAGS:
            options[word[2:].replace("-", "_")] = True
        elif word in OPTIONS:
            value = next(words, None)
            if value is None:
                refuse_command_line(word + " needs a value")
            options[word[2:].replace("-", "_")] = value
        elif word.startswith("--"):
            refuse_command_line("unknown option " + word)
        else:
            paths.append(word)
    if len(paths) != 1:
        refuse_command_line("one path is needed")
    path = options["path"] = os.path.abspath(paths[0])
    options["name"] = options["name"] or os.path.splitext(os.path.basename(path))[0]
    for name in ("code", "root"):
        options[name] = os.path.abspath(options[name]) if options[name] else None
    options["max_value_bytes"] = parse_size(options["max_value_bytes"])
    return options


def parse_size(text):
    if text is None:
        return DEFAULT_VALUE_BYTES
    if not (text.isascii() and text.isdigit()):
        refuse_command_line("--max-value-bytes needs a number")
    return min(int(text), LARGEST_VALUE_BYTES)


def parse_arguments(text):
    import json

    try:
        arguments = json.loads(text)
    except (ValueError, RecursionError) as error:
        refuse_command_line(f"--arguments is no JSON: {error}")
    if type(arguments) is not dict:
        refuse_command_line("--arguments must be a JSON object")
    return arguments


def read_go():
    try:
        return _read(0, 1)
    except OSError:  # there is no descriptor 0
        return b""


def run_script(words):
    options = parse_command_line(words)
    if identity_of(1) is None:
        _exit(EXIT_CHANNEL_LOST)
    channel = Channel()
    open_log_streams()
    if sys.version_info < OLDEST:
        refuse_command_line(f"Python {python_version()} is too old")
    path = options["path"]
    script = Script(path, options["code"] or path, options["root"], options["name"])
    run = Run(channel, script, options)
    run.prepare()
    if options["wait"]:
        sent = channel.send(
            {"v": 1, "record": "ready", "python": python_version(), "pid": _getpid()}
        )
        if not sent:
            _exit(EXIT_CHANNEL_LOST)
        if not read_go():  # the other end is gone, and with it the wish to run
            _exit(0)
    open_null_input()
    run.hook_process()
    try:
        run.perform()
    except BaseException as error:  # SIGTERM between two steps of this file
        if not run.done:
            run.fail(error, "raised")
    run.tear_down()


def main():
    words = sys.argv[1:]
    if words == ["--probe"]:
        probe()
    elif words == ["--inspect"]:
        inspect_lines()
    else:
        run_script(words)


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":
    restore_in_child()
