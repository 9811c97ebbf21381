"""Tests of the shim: each runs the real file in a real interpreter and reads its records.

DROPCRON_TEST_PYTHONS (colon separated) names the interpreters; by default the running one.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

SHIM = Path(__file__).resolve().with_name("runner_shim.py")
PYTHONS = os.environ.get("DROPCRON_TEST_PYTHONS", sys.executable).split(":")
HANGS = 60  # seconds after which a test is taken to hang


class Outcome:
    """What one run of the shim left behind."""

    def __init__(self, code, out, log):
        self.code = code
        self.out = out
        self.log = log.decode("utf-8")
        self.records = []
        for line in out.splitlines(keepends=True):
            assert line[:1] == b"\x1e" and line[-1:] == b"\n" and line.isascii(), line
            self.records.append(json.loads(line[1:]))

    @property
    def result(self):
        assert len(self.records) == 1, (self.code, self.records, self.log)
        return self.records[0]

    @property
    def value(self):
        assert self.result["status"] == "succeeded", self.result
        return self.result["value"]


class ShimCase(unittest.TestCase):
    python = PYTHONS[0]
    shim = SHIM

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name).resolve()

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(text, bytes):
            path.write_bytes(text)
        else:
            path.write_text(textwrap.dedent(text), "utf-8")
        return path

    def command(self, *words):
        return [self.python, "-I", "-X", "utf8", str(self.shim), *map(str, words)]

    def start(self, *words):
        pipe = subprocess.PIPE
        process = subprocess.Popen(self.command(*words), stdin=pipe, stdout=pipe, stderr=pipe)
        self.addCleanup(process.stdin.close)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.kill)
        return process

    def call(self, path, *words, stdin=b""):
        done = subprocess.run(
            self.command(path, "--root", self.root, *words),
            input=stdin,
            capture_output=True,
            timeout=HANGS,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def script(self, text, *words, **more):
        return self.call(self.write("task.py", text), *words, **more)

    def returns(self, expression, *words, setup=""):
        """Run a script that returns the expression."""
        return self.script(
            f"{textwrap.dedent(setup)}\ndef run():\n    return {expression}\n", *words
        )

    def version(self):
        probe = subprocess.run(self.command("--probe"), capture_output=True, check=True)
        return tuple(json.loads(probe.stdout)["version_info"])

    def fails(self, outcome, reason, code=1):
        self.assertEqual(outcome.result["status"], "failed")
        self.assertEqual(outcome.result["reason"], reason, outcome.result)
        self.assertEqual(outcome.code, code)
        return outcome.result["error"]


class Protocol(ShimCase):
    def test_success_record(self):
        source = "def run():\n    return {'n': 1}\n"
        outcome = self.script(source)
        self.assertEqual(
            outcome.result,
            {
                "v": 1,
                "record": "result",
                "status": "succeeded",
                "value": {"n": 1},
                "has_value": True,
                "type": "dict",
                "warnings": [],
                "script_sha256": hashlib.sha256(source.encode()).hexdigest(),
            },
        )
        self.assertEqual(outcome.code, 0)

    def test_none_is_no_value(self):
        result = self.returns("None").result
        self.assertEqual((result["has_value"], result["type"]), (False, "NoneType"))

    def test_no_value_is_not_sent_but_the_generator_runs(self):
        outcome = self.script("def run():\n    print('ran')\n    yield 1\n", "--no-value")
        self.assertEqual((outcome.result["has_value"], outcome.value), (False, None))
        self.assertEqual(outcome.log, "ran\n")

    def test_output_is_the_log_in_true_order(self):
        outcome = self.script(
            """
            import os, subprocess, sys
            def run():
                print("one")
                os.write(1, b"two\\n")
                print("three", file=sys.stderr)
                subprocess.run([sys.executable, "-c", "print('four')"])
                os.system("echo five")
                print("six \\udc80 ю", end="")
            """
        )
        self.assertEqual(outcome.log, "one\ntwo\nthree\nfour\nfive\nsix \\udc80 ю")
        self.assertEqual(outcome.result["status"], "succeeded")

    def test_ready_then_go(self):
        path = self.write("task.py", "print('loaded')\ndef run():\n    return input()\n")
        process = self.start(path, "--wait", "--asyncio")
        ready = json.loads(process.stdout.readline()[1:])
        self.assertEqual((ready["record"], ready["pid"]), ("ready", process.pid))
        path.write_text("raise ValueError('the bytes before ready count')\n")
        out, log = process.communicate(b"Gignored", timeout=HANGS)
        error = self.fails(Outcome(process.returncode, out, log), "raised")
        self.assertEqual((error["type"], log), ("EOFError", b"loaded\n"))

    def test_end_of_input_runs_nothing(self):
        path = self.write("task.py", "print('loaded')\n")
        process = self.start(path, "--wait")
        out, log = process.communicate(timeout=HANGS)
        self.assertEqual(json.loads(out[1:])["record"], "ready")
        self.assertEqual((process.returncode, log), (0, b""))

    def test_a_broken_script_is_reported_after_the_go(self):
        process = self.start(self.write("task.py", "def run(:\n"), "--wait")
        out, log = process.communicate(b"G", timeout=HANGS)
        ready, result = Outcome(process.returncode, out, log).records
        self.assertEqual((ready["record"], result["reason"]), ("ready", "load_failed"))

    def test_standard_output_may_be_a_file(self):
        out = self.root / "out"
        with out.open("wb") as file:
            path = self.write("task.py", "def run():\n    print('x')\n    return 1\n")
            subprocess.run(self.command(path), stdout=file, stderr=subprocess.PIPE, check=True)
        self.assertEqual(Outcome(0, out.read_bytes(), b"").value, 1)

    def test_closed_descriptors_at_the_start(self):
        path = self.write("task.py", "def run():\n    print('x')\n    return 1\n")
        for closed, code in (("0<&-", 0), ("2>&-", 0), ("0<&- 2>&-", 0), ("1>&-", 120)):
            with self.subTest(closed):
                shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *self.command(path)]
                done = subprocess.run(shell, capture_output=True, timeout=HANGS, check=False)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertEqual(bool(done.stdout), code == 0)

    def test_result_larger_than_a_pipe(self):
        self.assertEqual(len(self.returns("'é' * 150000").value), 150000)

    def test_precompiled_shim(self):
        compiled = self.root / "runner_shim.pyc"
        code = "import py_compile, sys; py_compile.compile(*sys.argv[1:], doraise=True)"
        subprocess.run([self.python, "-I", "-c", code, SHIM, compiled], check=True)
        self.shim = compiled
        self.assertEqual(self.returns("[__name__]").value, ["taskfiles.task"])

    def test_wrong_command_lines(self):
        path = self.write("task.py", "def run(): pass\n")
        for words in ([], [path, path], [path, "--nope"], [path, "--code"]):
            done = subprocess.run(
                self.command(*words), capture_output=True, timeout=HANGS, check=False
            )
            self.assertEqual((done.returncode, done.stdout), (2, b""))
        for text in ("[1]", "{"):
            self.assertEqual(self.call(path, "--arguments", text).code, 2)

    def test_few_imports(self):
        outcome = self.returns("sorted(set(sys.modules))", setup="import sys")
        bare = "import sys; print(*sys.modules)"
        command = [self.python, "-I", "-X", "utf8", "-c", bare]
        bare = subprocess.run(command, capture_output=True, check=True).stdout.decode().split()
        extra = set(outcome.value) - set(bare)
        allowed = {"atexit", "_sha2", "_sha256", "taskfiles", "taskfiles.task"}
        self.assertEqual(extra - allowed, set())

    def test_probe(self):
        done = subprocess.run(self.command("--probe"), capture_output=True, check=True)
        answer = json.loads(done.stdout)
        self.assertEqual(
            set(answer),
            {"version", "version_info", "implementation", "cache_tag", "executable", "ext_suffix"},
        )
        self.assertEqual(answer["version"], ".".join(map(str, answer["version_info"])))

    def test_syntax_is_that_of_python_3_6(self):
        import ast

        ast.parse(SHIM.read_text("utf-8"), feature_version=(3, 6))


class Loading(ShimCase):
    def test_names(self):
        path = self.write("prices/my btc.v2-ю.py", "def run():\n    return [__name__, __file__]\n")
        outcome = self.call(path, "--name", "prices/my btc.v2-ю")
        self.assertEqual(outcome.value, ["taskfiles.prices.my btc%2Ev2-ю", str(path)])

    def test_code_is_what_runs_and_what_is_shown(self):
        path = self.write("task.py", "broken(\n" * 9)
        code = self.write("0badc0de", "def run():\n    print(__file__)\n    return 1 / 0 # shown\n")
        outcome = self.call(path, "--code", code)
        error = self.fails(outcome, "raised")
        self.assertEqual(outcome.log, f"{path}\n")
        self.assertIn("# shown", error["traceback"])
        self.assertIn(f'File "{path}", line 3', error["traceback"])
        self.assertNotIn("runner_shim", error["traceback"])
        self.assertNotIn("broken", error["traceback"])
        digest = hashlib.sha256(code.read_bytes()).hexdigest()
        self.assertEqual(outcome.result["script_sha256"], digest)

    def test_own_tracebacks_show_what_ran(self):
        path = self.write("task.py", "old\n" * 9)
        code = self.write(
            "c0de",
            """
            import traceback
            def run():
                try:
                    1 / 0  # shown
                except ZeroDivisionError:
                    return traceback.format_exc()
            """,
        )
        self.assertIn("# shown", self.call(path, "--code", code).value)

    def test_stale_bytecode_is_never_used(self):
        for name in ("task.py", "helper.py"):
            path = self.write(name, "number = 1\ndef run():\n    return 1\n")
            stamp = path.stat().st_mtime
            subprocess.run([self.python, "-m", "py_compile", path], check=True)
            path.write_text("number = 2\ndef run():\n    return 2\n")
            os.utime(path, (stamp, stamp))
        self.assertEqual(self.call(self.root / "task.py").value, 2)
        outcome = self.returns("[helper.number, other.number]", setup=IMPORT_HELPER)
        self.assertEqual(outcome.value, [2, 2])

    def test_nothing_is_written_beside_the_scripts(self):
        self.write("helper.py", "number = 1\n")
        self.assertEqual(self.returns("helper.number", setup="import helper").value, 1)
        self.assertEqual(
            sorted(path.name for path in self.root.iterdir()), ["helper.py", "task.py"]
        )

    def test_siblings_never_shadow_the_standard_library(self):
        for name in ("email", "queue", "random", "asyncio", "traceback"):
            self.write(f"{name}.py", "raise RuntimeError('shadowed')\n")
        outcome = self.script("import queue, random, email\nasync def run():\n    raise OSError\n")
        self.assertIn("OSError", self.fails(outcome, "raised")["traceback"])

    def test_siblings_and_packages(self):
        self.write("a/b/near.py", "from .. import middle\nname = __name__\n")
        self.write("a/middle.py", "from .. import top\n")
        self.write("top.py", "number = 7\n")
        self.write("a/b/plain.py", "number = 1\n")
        self.write("a/b/lib/__init__.py", "from .part import value\n")
        self.write("a/b/lib/part.py", "value = 'part'\n")
        path = self.write(
            "a/b/task.py",
            """
            from . import near
            from .lib import value
            import plain, top
            def run():
                return [near.name, near.middle.top.number, value, plain.number + top.number]
            """,
        )
        self.assertEqual(
            self.call(path, "--name", "a/b/task").value, ["taskfiles.a.b.near", 7, "part", 8]
        )

    def test_without_root(self):
        self.write("helper.py", "number = 1\n")
        path = self.write("task.py", "from . import helper\ndef run():\n    return helper.number\n")
        done = subprocess.run(self.command(path), capture_output=True, check=True)
        self.assertEqual(Outcome(0, done.stdout, done.stderr).value, 1)

    def test_main_block_does_not_run(self):
        outcome = self.returns("1", setup="if __name__ == '__main__':\n    print('main')\n")
        self.assertEqual(outcome.log, "")

    def test_syntax_error_has_line_text_and_caret(self):
        error = self.fails(self.script("x = 1\nvalue = (1 +* 2)\n"), "load_failed")
        self.assertEqual(error["type"], "SyntaxError")
        for part in ("line 2", "value = (1 +* 2)", "^", "task.py"):
            self.assertIn(part, error["traceback"])
        self.assertNotIn("runner_shim", error["traceback"])

    def test_unreadable_sources(self):
        for data in (b"x = '\0'\n", b"# coding: nonsense\n", b"x = '\xff'\n", b"if 1:\nx\n"):
            with self.subTest(data):
                self.fails(self.call(self.write("task.py", data)), "load_failed")
        self.fails(self.call(self.root / "absent.py"), "load_failed")

    def test_declared_encoding(self):
        data = "# coding: latin-1\ndef run():\n    return 'é'\n".encode("latin-1")
        self.assertEqual(self.call(self.write("task.py", data)).value, "é")

    def test_raising_while_loading(self):
        error = self.fails(self.script("import nowhere_to_be_found\n"), "load_failed")
        self.assertEqual(error["type"], "ModuleNotFoundError")
        self.assertTrue(error["traceback"].startswith("Traceback"))
        self.assertNotIn("importlib", error["traceback"])

    def test_no_run(self):
        self.fails(self.script("def main(): pass\n"), "no_run")
        self.fails(self.script("run = 1\n"), "run_not_callable")
        self.fails(self.script("run = None\n"), "run_not_callable")

    def test_needs_arguments(self):
        for parameters in ("a", "a, b=1", "*, a", "*x, a, **y"):
            error = self.fails(self.script(f"def run({parameters}): pass\n"), "run_needs_args")
            self.assertIn(": a", error["message"])
        setup = "class T:\n    def run(self, a): pass\n    def __call__(self, a): pass\n"
        self.fails(self.script(setup + "run = T().run\n"), "run_needs_args")
        self.fails(self.script(setup + "run = T()\n"), "run_needs_args")
        for parameters in ("", "a=1", "*a", "**a", "*, a=1"):
            self.assertEqual(self.script(f"def run({parameters}): return 1\n").value, 1)

    def test_arguments(self):
        words = ("--arguments", '{"a": 1, "b": [null]}')
        self.assertEqual(
            self.script("def run(a, *, b, c=3): return [a, b, c]\n", *words).value, [1, [None], 3]
        )
        self.assertEqual(
            self.script("def run(**all): return all\n", *words).value, {"a": 1, "b": [None]}
        )
        error = self.fails(self.script("def run(a): pass\n", *words), "run_needs_args")
        self.assertIn("does not take: b", error["message"])
        self.fails(self.script("def run(a, /, b): pass\n", *words), "run_needs_args")

    def test_bytecode(self):
        source = self.write("task.py", "def run():\n    return [__name__, 1 / x]\nx = 4\n")
        compiled = self.root / "task.pyc"
        code = "import py_compile, sys; py_compile.compile(*sys.argv[1:], doraise=True)"
        subprocess.run([self.python, "-c", code, source, compiled], check=True)
        source.unlink()
        self.assertEqual(self.call(compiled).value, ["taskfiles.task", 0.25])
        good = compiled.read_bytes()
        compiled.write_bytes(b"\0\0\r\n" + good[4:])
        error = self.fails(self.call(compiled), "load_failed")
        self.assertIn("compiled by another Python version", error["message"])
        for broken in (good[:40], good[:16] + b"N", b""):
            compiled.write_bytes(broken)
            self.fails(self.call(compiled), "load_failed")

    def test_extension_of_another_python(self):
        path = self.write("task.cpython-35m-x86_64-linux-gnu.so", b"\x7fELF")
        error = self.fails(self.call(path), "load_failed")
        self.assertIn("built for another Python", error["message"])

    def test_extension_without_tag(self):
        outcome = self.call(self.write("task.so", b"\x7fELF"))
        self.assertEqual(self.fails(outcome, "load_failed")["type"], "ImportError")
        self.assertIn("does not say for which Python", outcome.result["warnings"][0])


IMPORT_HELPER = "import helper\nfrom . import helper as other\n"


class Running(ShimCase):
    def test_raised(self):
        outcome = self.script(
            """
            class Mine(KeyError):
                pass
            def run():
                try:
                    {}["x"]
                except KeyError as error:
                    raise Mine("a\\0b\\udc80") from error
            """
        )
        error = self.fails(outcome, "raised")
        self.assertEqual((error["type"], error["message"]), ("Mine", "'a\\x00b\\udc80'"))
        self.assertIn("direct cause", error["traceback"])
        self.assertNotIn("runner_shim", error["traceback"])
        self.assertIsNone(outcome.result["exit_code"])

    def test_base_exceptions_are_raised(self):
        for name in ("KeyboardInterrupt", "GeneratorExit", "BaseException"):
            for prefix in ("", "async "):
                outcome = self.script(f"{prefix}def run():\n    raise {name}('x')\n")
                self.assertEqual(self.fails(outcome, "raised")["type"], name)

    def test_exception_without_text(self):
        outcome = self.script(
            """
            class Bad(Exception):
                def __str__(self):
                    raise ValueError
                __repr__ = __str__
            def run():
                raise Bad(1)
            """
        )
        error = self.fails(outcome, "raised")
        self.assertEqual(error["type"], "Bad")
        self.assertIn("in run", error["traceback"])

    def test_long_errors_are_clipped(self):
        outcome = self.script(
            """
            def deep(n):
                if n == 0:
                    raise ValueError("é" * 100000 + "end")
                exec(f"def f{n}(n): deep(n)\\nf{n}({n - 1})", globals())
            def run():
                deep(150)
            """
        )
        error = self.fails(outcome, "raised")
        self.assertLessEqual(len(error["message"].encode()), 8 << 10)
        self.assertLessEqual(len(error["traceback"].encode()), 64 << 10)
        self.assertTrue(error["traceback"].endswith("end\n"))

    def test_recursion(self):
        error = self.fails(self.script("def run():\n    return run()\n"), "raised")
        self.assertEqual(error["type"], "RecursionError")

    def test_sys_exit(self):
        for argument, code in (("3", 3), ("-1", 255), ("256", 1), ("True", 1), ("'no'", 1)):
            for prefix in ("", "async "):
                outcome = self.script(f"import sys\n{prefix}def run():\n    sys.exit({argument})\n")
                self.fails(outcome, "exited", code)
                self.assertEqual(outcome.result["exit_code"], code)
        self.assertEqual(outcome.result["error"]["message"], "no")
        for argument in ("", "0", "None"):
            for text in ("def run():\n    ", "async def run():\n    ", ""):
                outcome = self.script(f"import sys\n{text}sys.exit({argument})\n")
                self.assertEqual((outcome.value, outcome.code), (None, 0))

    def test_leaving_without_a_result_sends_none(self):
        for statement in ("os._exit(0)", "os.abort()", "os.kill(os.getpid(), 9)"):
            outcome = self.script(f"import os\ndef run():\n    {statement}\n")
            self.assertEqual(outcome.records, [])

    def test_awaitables(self):
        for text in (
            "async def run(): await asyncio.sleep(0); return 1",
            "def run(): return asyncio.sleep(0, 1)",
            "async def run(): return asyncio.sleep(0, 1)",
            "async def run(): return asyncio.ensure_future(asyncio.sleep(0, 1))",
            "def run():\n    loop = asyncio.new_event_loop()\n"
            "    return loop.create_task(asyncio.sleep(0, 1))",
            "def run(): return asyncio.run(asyncio.sleep(0, 1))",
            "class R:\n    async def __call__(self): return 1\nrun = R()",
            "class A:\n    def __await__(self): "
            "return (yield from asyncio.sleep(0, 1).__await__())\n"
            "def run(): return A()",
            "import types\n@types.coroutine\ndef run():\n    yield\n    return 1",
            "from concurrent.futures import ThreadPoolExecutor\n"
            "def run(): return ThreadPoolExecutor(1).submit(abs, -1)",
        ):
            with self.subTest(text):
                self.assertEqual(self.script(f"import asyncio\n{text}\n").value, 1)

    def test_asyncio_is_not_needed_by_the_script(self):
        self.assertEqual(self.script("async def run():\n    return 1\n").value, 1)

    def test_traceback_of_a_coroutine_starts_in_the_script(self):
        error = self.fails(self.script("async def run():\n    1 / 0\n"), "raised")
        self.assertNotIn("asyncio", error["traceback"])
        self.assertNotIn("runner_shim", error["traceback"])

    def test_generators(self):
        self.assertEqual(self.script("def run():\n    yield 1\n    yield 2\n").value, [1, 2])
        self.assertEqual(self.script("async def run():\n    yield 1\n    yield 2\n").value, [1, 2])
        for prefix in ("", "async "):
            outcome = self.script(f"{prefix}def run():\n    yield 1\n    1 / 0\n")
            self.fails(outcome, "raised")

    def test_endless_generators_are_stopped(self):
        for prefix in ("", "async "):
            text = "def run():\n    try:\n        while True: yield\n    finally: print('closed')\n"
            outcome = self.script(prefix + text, "--no-value")
            self.assertIn("1000000", outcome.result["warnings"][0])
            self.assertEqual(outcome.log, "closed\n")

    def test_sigterm_runs_finally(self):
        for text in (
            "def run():\n    try:\n        go(); Event().wait()\n",
            # The loop itself says go, so that the coroutine is surely suspended.
            "async def run():\n    asyncio.get_running_loop().call_soon(go)\n"
            "    try:\n        await asyncio.sleep(3600)\n",
            "async def run():\n    try:\n        go(); Event().wait()\n",
            "def run():\n    try:\n        go(); yield Event().wait()\n",
            "async def run():\n    try:\n        go(); yield await asyncio.sleep(3600)\n",
            "async def main():\n    try:\n        go(); await asyncio.sleep(3600)\n"
            "    finally: print('inner')\n"
            "def run():\n    try:\n        asyncio.run(main())\n",
        ):
            with self.subTest(text):
                setup = "import asyncio\nfrom threading import Event\ndef go(): print('go')\n"
                text += "    finally:\n        print('finally')\n"
                process = self.start(self.write("task.py", setup + text))
                self.assertEqual(process.stderr.readline(), b"go\n")
                process.terminate()
                out, log = process.communicate(timeout=HANGS)
                outcome = Outcome(process.returncode, out, log)
                self.assertEqual(self.fails(outcome, "signal")["type"], "Terminated")
                self.assertEqual(outcome.result["signal"], 15)
                self.assertTrue(outcome.log.endswith("finally\n"), outcome.log)

    def test_sigterm_of_the_scripts_own(self):
        outcome = self.script(
            """
            import os, signal
            def run():
                got = []
                signal.signal(signal.SIGTERM, lambda *_: got.append(1))
                os.kill(os.getpid(), signal.SIGTERM)
                return got
            """
        )
        self.assertEqual(outcome.value, [1])

    def test_after_the_result(self):
        """Threads, exit handlers and output end as in the interpreter, after the record left."""
        path = self.write(
            "task.py",
            """
            import atexit, sys, threading
            stop = threading.Event()
            def work():
                stop.wait()
                print("thread")
            def run():
                threading.Thread(target=work).start()
                threading.Thread(target=lambda: sys.stdin.read() or stop.set(), daemon=True)
                atexit.register(print, "atexit", end="")
                threading.Thread(target=lambda: (open(FIFO).read(), stop.set())).start()
                return 1
            FIFO = __file__ + ".fifo"
            """,
        )
        fifo = Path(f"{path}.fifo")
        os.mkfifo(fifo)
        process = self.start(path)
        record = process.stdout.readline()  # it comes while the threads still wait
        self.assertEqual(json.loads(record[1:])["value"], 1)
        fifo.write_text("go on")
        out, log = process.communicate(timeout=HANGS)
        self.assertEqual((out, log, process.returncode), (b"", b"thread\natexit", 0))

    def test_executor_of_the_loop_does_not_hold_the_result(self):
        path = self.write(
            "task.py",
            """
            import asyncio
            async def run():
                asyncio.get_running_loop().run_in_executor(None, lambda: open(FIFO).read())
                return 1
            FIFO = __file__ + ".fifo"
            """,
        )
        fifo = Path(f"{path}.fifo")
        os.mkfifo(fifo)
        process = self.start(path)
        self.assertEqual(json.loads(process.stdout.readline()[1:])["value"], 1)
        fifo.write_text("go on")
        process.communicate(timeout=HANGS)
        self.assertEqual(process.returncode, 0)

    def test_process_pool_that_was_not_shut_down(self):
        outcome = self.script(
            """
            from concurrent.futures import ProcessPoolExecutor
            def run():
                pool = ProcessPoolExecutor(1)
                globals()["kept"] = pool
                return pool.submit(abs, -1).result()
            """
        )
        self.assertEqual((outcome.value, outcome.code), (1, 0))

    def test_multiprocessing(self):
        self.write("helper.py", "def double(n):\n    return 2 * n\n")
        path = self.write(
            "some dir.x/my task.py",
            """
            import multiprocessing
            from helper import double
            from . import near
            class Thing:
                def __init__(self, n):
                    self.n = n
            def work(thing):
                print("child")
                return Thing(double(thing.n) + near.one)
            def run(method):
                with multiprocessing.get_context(method).Pool(1) as pool:
                    return [thing.n for thing in pool.map(work, [Thing(1), Thing(2)])]
            """,
        )
        self.write("some dir.x/near.py", "one = 1\n")
        code = self.write("c0de", path.read_bytes())
        path.write_text("the file has changed since")
        for method in ("fork", "spawn", "forkserver"):
            with self.subTest(method):
                arguments = json.dumps({"method": method})
                words = ("--code", code, "--name", "some dir.x/my task", "--arguments", arguments)
                outcome = self.call(path, *words)
                self.assertEqual((outcome.value, outcome.code), ([3, 5], 0))
                self.assertEqual(outcome.log, "child\nchild\n")

    def test_fork_and_both_return(self):
        for prefix in ("", "async "):
            outcome = self.script(
                f"""
                import os
                {prefix}def run():
                    pid = os.fork()
                    print("child" if pid == 0 else os.waitpid(pid, 0)[1])
                    return 1
                """
            )
            self.assertEqual((outcome.value, outcome.log), (1, "child\n0\n"))

    def test_fork_and_the_child_raises(self):
        outcome = self.script(
            """
            import os, sys
            def run():
                for leave in (ValueError, SystemExit(7)):
                    pid = os.fork()
                    if pid == 0:
                        raise leave
                    print(os.waitpid(pid, 0)[1] >> 8)
            """
        )
        self.assertEqual(outcome.log.splitlines()[-3:], ["ValueError", "1", "7"])
        self.assertEqual(outcome.value, None)

    def test_children_do_not_have_the_channel(self):
        outcome = self.script(
            """
            import os, signal, subprocess, sys
            def run():
                list_them = "import os; print(max(map(int, os.listdir('/proc/self/fd'))))"
                shown = subprocess.check_output([sys.executable, "-c", list_them], close_fds=False)
                pid = os.fork()
                if pid == 0:
                    default = signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
                    high = [n for n in os.listdir("/proc/self/fd") if int(n) >= 100]
                    os._exit(3 if default and not high else 4)
                return [int(shown) < 100, os.waitpid(pid, 0)[1] >> 8]
            """
        )
        self.assertEqual(outcome.value, [True, 3])


class Hostile(ShimCase):
    def test_broken_modules_and_streams(self):
        for statement in (
            "os.write = os.fstat = os.getpid = os._exit = os.close = None",
            "json.dumps = json.JSONEncoder = None",
            "sys.stdout = sys.stderr = None",
            "sys.stdout = io.StringIO()",
            "sys.stdout.close(); sys.stderr.close()",
            "del sys.stdout, sys.stderr",
            "builtins.print = builtins.open = None",
            "traceback.format_exception = None",
            "linecache.cache = None",
            "os.close(0); os.close(1); os.close(2)",
            "os.chdir('/'); os.environ.clear(); sys.path.clear()",
            "sys.meta_path.clear(); sys.path_hooks.clear()",
            "sys.settrace(lambda *_: 1 / 0)",
            "sys.setprofile(lambda *_: None)",
            "sys.setrecursionlimit(60)",
            "sys.modules.clear()",
            "sys.modules['atexit'] = sys.modules['_signal'] = None",
            "gc.disable(); gc.freeze()",
            "resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))",
        ):
            imports = "import builtins, gc, io, json, linecache, os, resource, sys, traceback\n"
            with self.subTest(statement):
                returned = self.script(f"{imports}def run():\n    {statement}\n    return [1]\n")
                raised = self.script(f"{imports}def run():\n    {statement}\n    1 / 0\n")
                error = self.fails(raised, "raised")
                self.assertEqual(error["type"], "ZeroDivisionError")
                self.assertTrue(error["traceback"].startswith("Traceback"))
                if "settrace" not in statement:  # a tracer that raises is the script's own error
                    self.assertEqual((returned.value, returned.code), ([1], 0))

    def test_tracing_ends_with_the_script(self):
        outcome = self.script(
            "import sys\nseen = set()\n"
            "def trace(frame, *_):\n    seen.add(frame.f_code.co_name)\n"
            "class Thing:\n    def __str__(self): return ' '.join(seen)\n"
            "def run():\n    sys.settrace(trace)\n    return Thing()\n"
        )
        self.assertNotIn("encode", outcome.value.split())

    def test_lost_channel(self):
        outcome = self.script("import os\ndef run():\n    os.closerange(3, 4096)\n    return 1\n")
        self.assertEqual((outcome.records, outcome.code), ([], 120))

    def test_files_of_the_script_are_never_written_to(self):
        outcome = self.script(
            """
            import os
            def run():
                os.closerange(3, 4096)
                global kept
                kept = [open(f"{__file__}.{n}", "w") for n in range(120)]
            """
        )
        self.assertEqual((outcome.records, outcome.code), ([], 120))
        victims = list(self.root.glob("task.py.*"))
        self.assertEqual((len(victims), sum(path.stat().st_size for path in victims)), (120, 0))

    def test_reader_that_left(self):
        read_end, write_end = os.pipe()
        os.close(read_end)
        path = self.write("task.py", "def run(): pass\n")
        done = subprocess.run(
            self.command(path), stdout=write_end, stderr=subprocess.PIPE, timeout=HANGS, check=False
        )
        os.close(write_end)
        self.assertEqual(done.returncode, 120)

    def test_exit_handlers_that_fail(self):
        outcome = self.script(
            "import atexit, sys\ndef run():\n    atexit.register(sys.exit, 3)\n"
            "    atexit.register(lambda: 1 / 0)\n    return 1\n"
        )
        self.assertEqual((outcome.value, outcome.code), (1, 0))
        self.assertIn("ZeroDivisionError", outcome.log)


class Values(ShimCase):
    def check(self, expression, value, *warnings, setup=""):
        outcome = self.returns(expression, setup=setup)
        self.assertEqual(outcome.value, value)
        self.assertEqual(outcome.result["warnings"], list(warnings))
        return outcome

    def test_plain_values(self):
        value = {"a": [1, -2.5, True, None, 'é"\\\n\x7f😀'], "": {}, "b": [[]], "c": 10**400}
        self.check(repr(value), value)
        self.check("[0] * 40 + ['é', 1.5, None, False]", [0] * 40 + ["é", 1.5, None, False])

    def test_python_s_numbers_and_keys(self):
        expression = "{1: 1, None: 2, True: 3, 2.5: 4, 'a': 5, (1, 2): 6}"
        value = {"1": 3, "null": 2, "2.5": 4, "a": 5, "(1, 2)": 6}
        self.check(
            expression,
            value,
            "$.<float>: a key of type float became text",
            "$.<tuple>: a key of type tuple became text",
        )
        self.check("{1: 1, '1': 2}", {"1": 2}, "$.1: the key occurs more than once")

    def test_numbers_without_json_form(self):
        nan, infinity = "NaN became null", "an infinity became null"
        self.check(
            "{'f': float('nan'), 'l': [1, float('-inf')]}",
            {"f": None, "l": [1, None]},
            f"$.f: {nan}",
            f"$.l[1]: {infinity}",
        )
        self.check("[0.5] * 40 + [float('nan')]", [0.5] * 40 + [None], f"$[40]: {nan}")
        hexadecimal = "an integer of 4097 bits became hexadecimal text"
        self.check("-1 << 4096", hex(-1 << 4096), f"$: {hexadecimal}")
        self.check("[1] * 40 + [1 << 4096]", [1] * 40 + [hex(1 << 4096)], f"$[40]: {hexadecimal}")
        self.check("(1 << 4096) - 1", (1 << 4096) - 1)

    def test_text_that_postgres_refuses(self):
        self.check(
            "['a\\0', {'\\0': 1}, '\\udc80b']",
            ["a\ufffd", {"\ufffd": 1}, "\ufffdb"],
            "$[0]: NUL became U+FFFD",
            "$[1].\ufffd: NUL became U+FFFD",
            "$[2]: a lone surrogate became U+FFFD",
        )
        self.assertEqual(self.returns("['x'] * 40 + ['\\0']").value[-1], "\ufffd")
        self.assertEqual(self.returns("['x'] * 40 + ['\\ud83d']").value[-1], "\ufffd")
        self.assertEqual(
            self.returns("['x'] * 40 + ['\U0001f600', '\\\\u0000']").value[-1], "\\u0000"
        )

    def test_standard_types(self):
        setup = """
        import collections, dataclasses, datetime, decimal, enum, fractions, pathlib, types, uuid
        Point = collections.namedtuple("Point", "x y")
        @dataclasses.dataclass
        class Data:
            point: Point
            more: dict
        class Colour(enum.Enum):
            RED = "red"
        class Level(enum.IntEnum):
            LOW = 1
        class Text(str): pass
        class Number(int): pass
        class Fraction(float): pass
        class Dict(dict): pass
        class List(list): pass
        """
        for expression, value in (
            (
                "Data(Point(1, 2), {'c': Colour.RED})",
                {"point": {"x": 1, "y": 2}, "more": {"c": "red"}},
            ),
            ("{Colour.RED: Level.LOW}", {"red": 1}),
            (
                "datetime.datetime(2020, 1, 2, 3, tzinfo=datetime.timezone.utc)",
                "2020-01-02T03:00:00+00:00",
            ),
            ("[datetime.date(2020, 1, 2), datetime.time(3)]", ["2020-01-02", "03:00:00"]),
            ("datetime.timedelta(1)", "1 day, 0:00:00"),
            ("decimal.Decimal('1.10')", "1.10"),
            ("[uuid.UUID(int=1), pathlib.Path('/x')]", [f"{0:08}-0000-0000-0000-{1:012}", "/x"]),
            ("[b'abc', bytearray(b'd'), memoryview(b'e')]", ["abc", "d", "e"]),
            ("[{1}, frozenset([2]), (3,), range(2)]", [[1], [2], [3], [0, 1]]),
            ("[collections.deque([1]), {1: 2}.keys(), {1: 2}.items()]", [[1], [1], [[1, 2]]]),
            ("[map(abs, [-1]), (n for n in [2]), zip('a', 'b')]", [[1], [2], [["a", "b"]]]),
            (
                "[Text('t'), Number(3), Fraction(1.5), Dict(a=1), List([1])]",
                ["t", 3, 1.5, {"a": 1}, [1]],
            ),
            ("types.MappingProxyType(collections.OrderedDict(a=1))", {"a": 1}),
            ("collections.Counter('aab')", {"a": 2, "b": 1}),
        ):
            with self.subTest(expression):
                self.check(expression, value, setup=setup)

    def test_binary(self):
        self.check("b'\\xff\\xfe'", "//4=", "$: bytes that are no UTF-8 became base64 text")

    def test_other_objects_become_text(self):
        setup = "class Thing:\n    def __str__(self): return 'a thing'\n"
        self.check(
            "{'t': Thing()}",
            {"t": "a thing"},
            "$.t: a value of type Thing became text",
            setup=setup,
        )
        for name in ("Exception", "SystemExit", "KeyboardInterrupt"):
            setup = f"class Bad:\n    def __str__(self): raise {name}\n"
            outcome = self.returns("[Bad()]", setup=setup)
            self.assertEqual((outcome.value, outcome.code), (["<Bad>"], 0))
            self.assertIn(f"$[0]: Bad has no text: str() raised {name}", outcome.result["warnings"])

    def test_objects_that_fail_half_way(self):
        setup = "def bad():\n    yield 1\n    raise OSError\n"
        outcome = self.returns("{'a': bad(), 'b': 2}", setup=setup)
        self.assertEqual(outcome.value["b"], 2)
        self.assertIn("$.a: generator could not be read: OSError", outcome.result["warnings"])

    def test_objects_without_end(self):
        setup = """
        class Ever:
            def keys(self): return "k"
            def __getitem__(self, key): return Ever()
        """
        outcome = self.returns("Ever()", setup=setup)
        self.assertIn("deeper than 64", outcome.result["warnings"][0])

    def test_circular_and_deep(self):
        outcome = self.script(
            "def run():\n    a = [1]\n    a.append({'a': a})\n    return [a, a]\n"
        )
        circle = [1, {"a": "<circular reference>"}]
        self.assertEqual(outcome.value, [circle, circle])
        outcome = self.script(
            "def run():\n    a = []\n    for _ in range(99999): a = [a]\n    return a\n"
        )
        self.assertIn("<nested too deep>", json.dumps(outcome.value))
        self.assertIn("deeper than 64 levels", outcome.result["warnings"][0])

    def test_many_warnings_are_counted(self):
        warnings = self.returns("[float('nan')] * 50").result["warnings"]
        self.assertEqual((len(warnings), warnings[-1]), (21, "and 30 more"))

    def test_too_large(self):
        result = self.returns("'x' * (1 << 20)").result
        self.assertEqual((result["value"], result["has_value"]), (None, True))
        for part in ("1048578 bytes", "limit is 1048576", '"xxx'):
            self.assertIn(part, result["warnings"][0])
        self.assertEqual(len(self.returns("'x' * ((1 << 20) - 2)").value), (1 << 20) - 2)
        self.assertEqual(self.returns("[12]", "--max-value-bytes", "4").value, [12])
        self.assertIsNone(self.returns("[123]", "--max-value-bytes", "4").value)
        result = self.returns("'x' * (65 << 20)", "--max-value-bytes", str(1 << 30)).result
        self.assertIn("67108864", result["warnings"][0])

    def test_tables_are_known_by_the_name_of_their_module(self):
        setup = """
        class Array:
            def tolist(self): return [1, float("nan")]
        Array.__module__ = "numpy"
        class DataFrame:
            def to_dict(self, how): return [{"a": 1}] if how == "records" else None
        DataFrame.__module__ = "pandas.core.frame"
        class NAType: pass
        NAType.__module__ = "pandas._libs.missing"
        """
        outcome = self.returns("[Array(), DataFrame(), NAType()]", setup=setup)
        self.assertEqual(outcome.value, [[1, None], [{"a": 1}], None])


class Inspecting(ShimCase):
    def inspect(self, *requests):
        lines = [r if isinstance(r, bytes) else json.dumps(r).encode() for r in requests]
        done = subprocess.run(
            self.command("--inspect"),
            input=b"\n".join(lines) + b"\n",
            capture_output=True,
            timeout=HANGS,
            check=True,
        )
        self.assertEqual(done.stderr, b"")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def look(self, text):
        (answer,) = self.inspect({"path": str(self.write("task.py", text)), "code": None})
        return answer

    def test_bytes_that_are_given_need_no_file(self):
        data = "# coding: latin-1\ndef run(ä): pass\n".encode("latin-1")
        absent = "/absent/x.py"
        request = {"path": absent, "code": absent, "source": data.decode("latin-1")}
        (answer,) = self.inspect(request)
        self.assertIsNone(answer["problem"])
        self.assertEqual(answer["run"]["parameters"][0]["name"], "ä")

    def test_memory_is_bounded(self):
        code = "import runner_shim as s; s.INSPECT_BYTES = 150 << 20; s.inspect_lines()"
        large = self.write("large.py", "x = [" + "0," * 1000000 + "]\n")
        small = self.write("small.py", "def run(): pass\n")
        lines = [json.dumps({"path": str(path)}) for path in (large, small)]
        done = subprocess.run(
            [sys.executable, "-c", code],
            input="\n".join(lines).encode(),
            capture_output=True,
            cwd=SHIM.parent,
            timeout=HANGS,
            check=True,
        )
        refused, read = (json.loads(line) for line in done.stdout.splitlines())
        self.assertIn("too large", refused["problem"]["message"])
        self.assertIsNone(read["problem"])
        self.assertEqual(read["run"]["line"], 1)

    def test_plain(self):
        text = '"""What\n  it does."""\nasync def run(a, b=1, *c, d, e=2, **f): pass\nprint("no")\n'
        code = self.write("c0de", text)
        (answer,) = self.inspect({"path": "/absent/x.py", "code": str(code)})
        names = ("name", "kind", "required")
        parameters = [
            ("a", "positional", True),
            ("b", "positional", False),
            ("c", "var_positional", False),
            ("d", "keyword", True),
            ("e", "keyword", False),
            ("f", "var_keyword", False),
        ]
        expected = {
            "path": "/absent/x.py",
            "run": {
                "async": True,
                "line": 3,
                "parameters": [dict(zip(names, values)) for values in parameters],
            },
            "docstring": "What\nit does.",
            "problem": None,
            "python": ".".join(map(str, self.version())),
        }
        self.assertEqual(answer, expected)

    def test_where_run_may_come_from(self):
        for text, line in (
            ("import x\nrun = x.main\n", 2),
            ("from x import main as run\n", 1),
            ("from x import *\n", 1),
            ("import run.x\n", 1),
            ("@cached\ndef run(): pass\n", 2),
            ("if x:\n    def run(): pass\nelse:\n    def run(a): pass\n", 4),
            ("try:\n    from x import run\nexcept ImportError:\n    run = None\n", 4),
            ("with x as (y, run): pass\n", 1),
            ("a, (b, *run) = x\n", 1),
            ("if (run := x): pass\n", 1),
            ("class run: pass\n", 1),
        ):
            with self.subTest(text):
                self.assertEqual(
                    self.look(text)["run"], {"async": None, "line": line, "parameters": None}
                )

    def test_run_inside_a_block(self):
        found = self.look("if x:\n    def run(a): pass\n")["run"]
        self.assertEqual((found["line"], found["parameters"][0]["name"]), (2, "a"))
        found = self.look("run = None\ndef run(): pass\n")["run"]
        self.assertEqual(found, {"async": False, "line": 2, "parameters": []})

    def test_no_run(self):
        for text in (
            "",
            "def main():\n    def run(): pass\n",
            "run.x = 1\n",
            "def run(): 1\ndel run\n",
        ):
            self.assertIsNone(self.look(text)["run"])

    def test_a_bad_file_does_not_stop_the_others(self):
        bad = {
            "syntax.py": b"x = 1\ndef run(:\n",
            "nul.py": b"x = 1\n\0",
            "coding.py": b"# coding: nonsense\n",
            "bytes.py": b"x = '\xff'\n",
            "deep.py": b"(" * 5000,
            "unary.py": b"x = " + b"-" * 50000 + b"1\n",
            "chain.py": b"x = a" + b".a" * 50000 + b"\n",
            "return.py": b"return\n",
        }
        for name, data in bad.items():
            self.write(name, data)
        good = {"path": str(self.write("good.py", "def run(): pass\n"))}
        requests = [{"path": str(self.root / name)} for name in [*bad, "absent.py"]]
        answers = self.inspect(*requests, b"{", b'{"path": 1}', {"path": "a.so"}, good)
        self.assertEqual(
            [a["path"] for a in answers[: len(requests)]], [r["path"] for r in requests]
        )
        for answer in answers[: len(requests) + 2]:
            with self.subTest(answer["path"]):
                self.assertEqual(set(answer["problem"]), {"line", "column", "message"})
                self.assertIsNone(answer["run"])
        self.assertEqual(answers[0]["problem"]["line"], 2)
        self.assertEqual(answers[1]["problem"]["line"], 2)
        self.assertEqual((answers[-2]["run"], answers[-2]["problem"]), (None, None))
        self.assertEqual(answers[-1]["run"]["line"], 1)

    def test_answers_come_one_by_one(self):
        process = self.start("--inspect")
        for _ in range(2):
            process.stdin.write(b'{"path": "a.pyc", "code": null}\n')
            process.stdin.flush()
            self.assertEqual(json.loads(process.stdout.readline())["path"], "a.pyc")
        process.communicate(timeout=HANGS)
        self.assertEqual(process.returncode, 0)

    def test_docstring_is_storable(self):
        self.assertEqual(self.look('"""a\\0b"""\n')["docstring"], "a\ufffdb")


def load_tests(loader, tests, pattern):
    """Each case once per interpreter."""
    suite = unittest.TestSuite()
    for python in PYTHONS:
        for case in (Protocol, Loading, Running, Hostile, Values, Inspecting):
            named = type(f"{case.__name__}[{python}]", (case,), {"python": python})
            suite.addTests(loader.loadTestsFromTestCase(named))
    return suite


if __name__ == "__main__":
    unittest.main()
