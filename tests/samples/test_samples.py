"""The scripts in scripts/, loaded as dropcron loads them and run against real servers and files.

Run them with `python3 -m unittest discover -s tests/samples`; one of them with `-k certificate`.
"""

import asyncio
import contextlib
import gzip
import hashlib
import http.server
import importlib.util
import inspect
import io
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tarfile
import tempfile
import threading
import unittest
from pathlib import Path
from unittest import mock

try:
    import tomllib
except ImportError:  # Python 3.9 and 3.10
    tomllib = None

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
NAMES = sorted(str(path.relative_to(SCRIPTS)) for path in SCRIPTS.rglob("*.py"))
TEST_DATABASE_URL = os.environ.get("DROPCRON_TEST_DATABASE_URL")


def load(name):
    spec = importlib.util.spec_from_file_location(f"samples.{Path(name).stem}", SCRIPTS / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(script, /, **args):
    """What the script returns and what it prints; the returned value must survive as JSON."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        returned = load(script).run(**args)
        if inspect.isawaitable(returned):
            returned = asyncio.run(finish(returned))
    return json.loads(json.dumps(returned, allow_nan=False)), printed.getvalue()


async def finish(awaitable):
    return await awaitable


def signature(name):
    """Of `run`, also where the packages that the header asks for are not installed."""
    packages = [re.match(r"[\w.-]+", text)[0] for text in header(name).get("dependencies", [])]
    with mock.patch.dict(sys.modules, {package: mock.MagicMock() for package in packages}):
        return inspect.signature(load(name).run)


def header(name):
    lines = (SCRIPTS / name).read_text().splitlines()
    start = lines.index("# /// script") + 1
    block = lines[start : lines.index("# ///", start)]
    return tomllib.loads("\n".join(line[2:] for line in block))


class TemporaryDirectory(unittest.TestCase):
    def setUp(self):
        # Resolved, because a script reports real paths and /tmp may be a link.
        self.directory = Path(tempfile.mkdtemp()).resolve()
        self.addCleanup(shutil.rmtree, self.directory)


@unittest.skipIf(tomllib is None, "reading headers needs Python 3.11 or newer")
class Headers(unittest.TestCase):
    def test_every_sample_has_a_header_with_a_description(self):
        for name in NAMES:
            with self.subTest(name):
                self.assertEqual(header(name)["requires-python"], ">=3.9")
                self.assertTrue(header(name)["tool"]["dropcron"]["description"])

    def test_run_accepts_the_arguments_of_its_header(self):
        for name in NAMES:
            with self.subTest(name):
                args = header(name)["tool"]["dropcron"].get("args", {})
                signature(name).bind(**args)

    def test_a_sample_with_a_schedule_succeeds_on_any_machine(self):
        for name in NAMES:
            settings = header(name)["tool"]["dropcron"]
            if "schedule" in settings:
                with self.subTest(name):
                    call(name, **settings.get("args", {}))

    def test_the_page_of_the_header_needs_no_network(self):
        args = header("web/page_number.py")["tool"]["dropcron"]["args"]
        self.assertEqual(call("web/page_number.py", **args)[0]["number"], 1284.5)


class Hello(unittest.TestCase):
    def test_it_greets_and_says_how_late_it_was(self):
        returned, printed = call("hello.py", name="ops")
        self.assertEqual(returned["greeting"], "hello, ops")
        self.assertTrue(-5000 <= returned["late_ms"] <= 5000)
        self.assertIn("hello, ops", printed)

    def test_lateness_is_counted_from_the_nearest_ten_seconds(self):
        late = load("hello.py").milliseconds_since_fire_time
        self.assertEqual(late(1_800_000_000.25), 250.0)
        self.assertEqual(late(1_799_999_999.75), -250.0)


class LoadAndDisk(unittest.TestCase):
    def test_it_returns_plausible_numbers_of_this_machine(self):
        returned, _ = call("host/load_and_disk.py")
        self.assertGreaterEqual(returned["load"]["one_minute"], 0)
        self.assertTrue(0 <= returned["disk"]["used_percent"] <= 100)
        if Path("/proc/meminfo").exists():
            self.assertTrue(0 < returned["memory"]["used_percent"] < 100)


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = "<b>Übrig: 1.284,50 €</b>".encode("iso-8859-15")
        self.send_response(200 if self.path == "/stock" else 404)
        self.send_header("Content-Type", "text/html; charset=iso-8859-15")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class PageNumber(unittest.TestCase):
    def setUp(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        self.addCleanup(server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)
        self.url = f"http://127.0.0.1:{server.server_port}"

    def fetch(self, path, pattern):
        url = self.url + path
        return call("web/page_number.py", url=url, pattern=pattern, decimal_point=",")[0]

    def test_a_number_is_taken_out_of_a_page_in_its_own_charset(self):
        self.assertEqual(self.fetch("/stock", r"Übrig: ([\d.,]+) €")["number"], 1284.5)

    def test_a_page_without_the_number_fails_and_shows_the_page(self):
        with self.assertRaisesRegex(LookupError, "nothing matches .*Übrig"):
            self.fetch("/stock", r"Preis: (\d+)")

    def test_an_error_page_is_not_read(self):
        with self.assertRaisesRegex(OSError, "404"):
            self.fetch("/gone", r"([\d.,]+)")


@unittest.skipIf(shutil.which("openssl") is None, "making a certificate needs the openssl command")
class CertificateExpiry(TemporaryDirectory):
    def setUp(self):
        super().setUp()
        self.certificate, key = self.directory / "cert.pem", self.directory / "key.pem"
        command = "openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost"
        command += f" -addext subjectAltName=DNS:localhost -keyout {key} -out {self.certificate}"
        subprocess.run(command.split(), check=True, stderr=subprocess.DEVNULL)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        thread = threading.Thread(target=self.accept_one, args=(listener, context))
        thread.start()
        self.addCleanup(thread.join)

    @staticmethod
    def accept_one(listener, context):
        with listener, contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with context.wrap_socket(connection, server_side=True) as channel:
                channel.recv(1)

    def check(self, **args):
        return call("tls/certificate_expiry.py", host="localhost", port=self.port, **args)[0]

    def test_the_days_left_of_a_certificate_are_counted(self):
        returned = self.check(ca_file=str(self.certificate))
        self.assertAlmostEqual(returned["days_left"], 30, delta=0.2)

    def test_too_few_days_left_fail_the_run(self):
        with self.assertRaisesRegex(RuntimeError, "expires in .* days; renew it"):
            self.check(ca_file=str(self.certificate), fail_below_days=60)

    def test_an_unknown_authority_fails_the_run(self):
        with self.assertRaisesRegex(ssl.SSLCertVerificationError, "self.signed certificate"):
            self.check()


class Query(unittest.TestCase):
    QUERY = "SELECT 1.5 AS price, 7 AS orders;"

    def ask(self, query, url=TEST_DATABASE_URL):
        variables = {} if url is None else {"QUERY_DATABASE_URL": url}
        with mock.patch.dict(os.environ, variables):
            if url is None:
                os.environ.pop("QUERY_DATABASE_URL", None)
            return call("postgres/query.py", query=query)[0]

    def test_a_missing_connection_says_which_variable_to_set(self):
        with self.assertRaisesRegex(LookupError, "`QUERY_DATABASE_URL` is not set"):
            self.ask(self.QUERY, url=None)

    def test_the_password_stays_out_of_the_command_line(self):
        split = load("postgres/query.py").without_password
        address, password = split(
            "postgres://reader:s%2Fcret@db.example.com:5433/shop?sslmode=require"
        )
        self.assertEqual(address, "postgres://reader@db.example.com:5433/shop?sslmode=require")
        self.assertEqual(password, "s/cret")
        self.assertEqual(split("postgres:///shop"), ("postgres:///shop", None))

    @unittest.skipUnless(TEST_DATABASE_URL, "DROPCRON_TEST_DATABASE_URL is not set")
    def test_one_row_becomes_an_object_of_numbers(self):
        self.assertEqual(self.ask(self.QUERY), {"price": 1.5, "orders": 7})

    @unittest.skipUnless(TEST_DATABASE_URL, "DROPCRON_TEST_DATABASE_URL is not set")
    @unittest.skipIf(tomllib is None, "reading headers needs Python 3.11 or newer")
    def test_the_query_of_the_header_works(self):
        returned = self.ask(header("postgres/query.py")["tool"]["dropcron"]["args"]["query"])
        self.assertGreater(returned["database_bytes"], 0)
        self.assertGreater(returned["connections"], 0)

    @unittest.skipUnless(TEST_DATABASE_URL, "DROPCRON_TEST_DATABASE_URL is not set")
    def test_two_rows_and_wrong_sql_fail(self):
        with self.assertRaisesRegex(ValueError, "must return one row, it returned 2"):
            self.ask("VALUES (1), (2)")
        with self.assertRaisesRegex(RuntimeError, "psql failed"):
            self.ask("SELECT nothing FROM nowhere")

    @unittest.skipUnless(TEST_DATABASE_URL, "DROPCRON_TEST_DATABASE_URL is not set")
    def test_the_transaction_is_read_only(self):
        returned = self.ask("SELECT current_setting('transaction_read_only') AS read_only")
        self.assertEqual(returned, {"read_only": "on"})


class AsyncFanOut(unittest.TestCase):
    def setUp(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listener.close)
        self.open = f"127.0.0.1:{self.listener.getsockname()[1]}"
        with socket.create_server(("127.0.0.1", 0)) as unused:
            self.closed = f"127.0.0.1:{unused.getsockname()[1]}"

    def test_open_closed_and_unknown_hosts_are_told_apart(self):
        hosts = [self.open, self.closed, "no-such-host.invalid:22"]
        returned, printed = call("fleet/async_fan_out.py", hosts=hosts)
        self.assertEqual((returned["checked"], returned["reachable"], returned["open"]), (3, 2, 1))
        self.assertIn(f"{self.open}: open", printed)
        self.assertIn(f"{self.closed}: closed", printed)
        self.assertIn("no-such-host.invalid:22: silent", printed)

    def test_a_silent_host_holds_up_the_others_no_longer_than_its_timeout(self):
        # A full backlog leaves further connections unanswered, without any network.
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            address = full.getsockname()
            with contextlib.ExitStack() as waiting:
                for _ in range(2):
                    connection = waiting.enter_context(socket.socket())
                    connection.setblocking(False)
                    connection.connect_ex(address)
                hosts = [f"127.0.0.1:{address[1]}", self.open]
                returned, printed = call("fleet/async_fan_out.py", hosts=hosts, timeout_seconds=0.2)
        self.assertEqual((returned["checked"], returned["reachable"]), (2, 1))
        self.assertIn("silent (timeout)", printed)

    def test_a_name_with_several_addresses_is_closed_when_all_of_them_refuse(self):
        host = self.closed.replace("127.0.0.1", "localhost")
        _, printed = call("fleet/async_fan_out.py", hosts=[host])
        self.assertIn(f"{host}: closed", printed)

    def test_more_hosts_than_the_limit_are_all_asked(self):
        returned, _ = call("fleet/async_fan_out.py", hosts=[self.closed] * 20, limit=3)
        self.assertEqual(returned["reachable"], 20)

    def test_no_hosts_are_no_failure(self):
        self.assertEqual(call("fleet/async_fan_out.py", hosts=[])[0]["slowest_ms"], None)


class Rotate(TemporaryDirectory):
    def setUp(self):
        super().setUp()
        self.log = self.directory / "app.log"
        self.log.write_bytes(b"line\n" * 1000)
        self.log.chmod(0o640)
        self.old = [self.directory / f"app.log.2026010{day}T000000Z.gz" for day in range(1, 5)]
        for archive in [*self.old, self.directory / "app.log.copy.gz"]:
            archive.write_bytes(b"")

    def rotate(self, **args):
        return call("logs/rotate.py", directory=str(self.directory), **args)

    def names(self):
        return {path.name for path in self.directory.iterdir()}

    def test_a_dry_run_changes_nothing_and_says_what_it_would_do(self):
        before = self.names()
        returned, printed = self.rotate(over_mib=0, keep=2)
        self.assertEqual((returned["rotated"], returned["removed"]), (1, 3))
        self.assertIn(f"would rotate {self.log}", printed)
        self.assertIn(f"would remove {self.old[0]}", printed)
        self.assertEqual(self.names(), before)

    def test_a_large_log_is_archived_and_emptied_while_its_writer_goes_on(self):
        with self.log.open("ab") as writer:
            returned, _ = self.rotate(over_mib=0, keep=2, dry_run=False)
            writer.write(b"next\n")
        self.assertEqual((returned["rotated"], returned["removed"]), (1, 3))
        self.assertEqual(self.log.read_bytes(), b"next\n")
        archives = sorted(self.directory.glob("app.log.2*.gz"))
        self.assertEqual((len(archives), archives[0]), (2, self.old[-1]))
        self.assertEqual(gzip.decompress(archives[1].read_bytes()), b"line\n" * 1000)
        self.assertEqual(archives[1].stat().st_mode & 0o777, 0o640)
        self.assertIn("app.log.copy.gz", self.names(), "a file that is no archive of ours stays")

    def test_a_small_log_stays(self):
        returned, _ = self.rotate(over_mib=1, dry_run=False)
        self.assertEqual((returned["logs"], returned["rotated"], returned["removed"]), (1, 0, 0))

    def test_a_wrong_directory_or_number_fails(self):
        with self.assertRaisesRegex(NotADirectoryError, "missing is not a directory"):
            call("logs/rotate.py", directory=str(self.directory / "missing"))
        with self.assertRaisesRegex(ValueError, "`keep` must be at least 1"):
            self.rotate(keep=0)


class BackupDirectory(TemporaryDirectory):
    def setUp(self):
        super().setUp()
        self.source = self.directory / "data"
        (self.source / "deep" / "empty").mkdir(parents=True)
        (self.source / "note.txt").write_text("first")
        (self.source / "deep" / "zeros").write_bytes(bytes(3_000_000))
        (self.source / "link").symlink_to("note.txt")
        os.link(self.source / "note.txt", self.source / "same.txt")
        self.destination = self.directory / "archives"

    def back_up(self, **args):
        args = {"source": str(self.source), "destination": str(self.destination), **args}
        return call("backup/directory.py", **args)[0]

    def test_an_archive_holds_everything_and_has_the_reported_checksum(self):
        returned = self.back_up()
        archive = Path(returned["archive"])
        self.assertEqual(returned["sha256"], hashlib.sha256(archive.read_bytes()).hexdigest())
        self.assertEqual(returned["archive_bytes"], archive.stat().st_size)
        self.assertEqual(archive.stat().st_mode & 0o777, 0o600)
        with tarfile.open(archive) as tar:
            names = {member.name for member in tar}
            self.assertEqual(tar.extractfile("data/same.txt").read(), b"first")
        inside = {"deep", "deep/empty", "deep/zeros", "link", "note.txt", "same.txt"}
        self.assertEqual(names, {f"data/{name}" for name in inside})

    def test_only_the_newest_archives_of_this_source_stay(self):
        self.destination.mkdir()
        for name in ("data-20260101T000000Z", "data-20260102T000000Z", "data-eu-20260101T000000Z"):
            (self.destination / f"{name}.tar.gz").touch()
        self.assertEqual(self.back_up(keep=2)["removed"], 1)
        names = sorted(path.name for path in self.destination.iterdir())
        self.assertEqual(names[0], "data-20260102T000000Z.tar.gz")
        self.assertEqual(names[-1], "data-eu-20260101T000000Z.tar.gz")
        self.assertEqual(len(names), 3)

    def test_a_damaged_archive_is_noticed(self):
        script = load("backup/directory.py")
        self.destination.mkdir()
        archive = self.destination / "data.tar.gz"
        written = script.write(archive, self.source)
        with self.assertRaisesRegex(RuntimeError, "note.txt"):
            script.verify(archive, {**written, "data/note.txt": "0" * 64})

    def test_a_failure_leaves_no_archive(self):
        with mock.patch("tarfile.TarFile.addfile", side_effect=OSError("disk full")):
            with self.assertRaisesRegex(OSError, "disk full"):
                self.back_up()
        self.assertEqual(list(self.destination.iterdir()), [])

    def test_a_wrong_source_or_destination_fails(self):
        with self.assertRaises(FileNotFoundError):
            self.back_up(source=str(self.directory / "missing"))
        with self.assertRaisesRegex(ValueError, "inside the source"):
            self.back_up(destination=str(self.source / "archives"))

    def test_a_relative_source_starts_at_the_script(self):
        returned = self.back_up(source="../web")
        self.assertTrue(Path(returned["archive"]).name.startswith("web-"))


if __name__ == "__main__":
    unittest.main()
