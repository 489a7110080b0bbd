"""An HTTP front over ClickHouse's embedded engine (PyPI chdb-core), for the tests of the store.

usage: front.py DIRECTORY [CERT KEY CLIENT_CA PASSWORD]; with the rest it speaks TLS, and lets in who has a certificate of CLIENT_CA and
says the password. It prints the port it listens on at 127.0.0.1, serves until its standard input ends.

It speaks the part of ClickHouse's HTTP interface that Flamekeeper uses: a query in the address, the body or a form, rows in the body,
parameters (param_*), settings, and exceptions with X-ClickHouse-Exception-Code. DIRECTORY is removed at the end. The engine runs one query at a time. It has no
users, and settings of replication have no effect on it.

It knows a cluster, `one`, of one shard, itself: Distributed tables are real. A replicated table can be made in the embedded engine, with a Keeper, but takes no
rows: it would have to serve other replicas. So statements for that cluster are run without ON CLUSTER and with tables that are not replicated.

    POST /fault?database=D&after=N&mode=before|after
        of the requests to D from now on, number N (from 0) is not answered: its connection is closed before or after the query was run
    POST /fault?database=D
        ends that; answers how many requests there were since
"""

import os
import re
import shutil
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

# The engine's Python bindings bring these along for data frames; they take seconds to load and are not needed.
sys.modules["pandas"] = None
sys.modules["pyarrow"] = None
from chdb import session  # noqa: E402

# What stands in the address and is no setting, or one that the embedded engine cannot have.
IGNORED = {"query", "database", "wait_end_of_query", "readonly", "cancel_http_readonly_queries_on_client_close", "insert_quorum"}
# The port says that the shard is this engine; nothing listens there.
CONFIG = """<clickhouse><tcp_port>9000</tcp_port><remote_servers><one><shard><internal_replication>true</internal_replication>
<replica><host>127.0.0.1</host><port>9000</port></replica></shard></one></remote_servers></clickhouse>"""
ON_CLUSTER = " ON CLUSTER `one`"
NAME = re.compile(r"[a-z_0-9]+")


def quoted(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def form(kind, body):
    """The parts of a form by name."""
    boundary = b"--" + kind.split("boundary=", 1)[1].encode()
    parts = {}
    for part in body.split(boundary)[1:-1]:
        head, value = part.removeprefix(b"\r\n").split(b"\r\n\r\n", 1)
        parts[re.search(rb'name="([^"]*)"', head)[1].decode()] = value.removesuffix(b"\r\n").decode()
    return parts


def on_one(statement):
    """A statement for the cluster as one that its only server can run."""
    statement = statement.replace(ON_CLUSTER, "")
    statement = re.sub(r"Replicated(\w*)MergeTree\('[^']*', '[^']*'(?:, )?", r"\1MergeTree(", statement)
    return re.sub(r"\breplicated_deduplication_window = (\d+), replicated_deduplication_window_seconds = \d+",
                  r"non_replicated_deduplication_window = \1", statement)


class Engine:
    def __init__(self, folder):
        self.folder = folder
        config = os.path.join(folder, "config.xml")
        with open(config, "w") as file:
            file.write(CONFIG)
        self.session = session.Session(os.path.join(folder, "engine") + f"?config-file={config}")
        self.lock = threading.Lock()
        self.faults, self.counts = {}, {}
        self.database = None
        # The tests' data is small: threads would cost more than they do.
        self.session.query("SET max_threads = 1, max_insert_threads = 1")

    def run(self, sent, kind, body):
        """Runs a query; its answer as bytes."""
        settings = {name: value for name, value in sent.items() if name not in IGNORED and not name.startswith("param_")}
        if kind.startswith("multipart/form-data"):
            sent = sent | form(kind, body)
            body = b""
        query = sent.get("query", "") or body.decode()
        if ON_CLUSTER in query:
            query = on_one(query)
        for name, value in sent.items():
            if name.startswith("param_"):
                self.session.query(f"SET {name} = {quoted(value)}")
        database = sent.get("database", "default")
        if database != self.database:
            self.session.query(f"USE {database}")
            self.database = database
        assert all(NAME.fullmatch(name) for name in settings), settings
        clause = ", ".join(f"{name} = {quoted(value)}" for name, value in settings.items())
        if "query" in sent and query.startswith("INSERT INTO") and query.endswith(" FORMAT RowBinary"):
            path = os.path.join(self.folder, "rows")
            with open(path, "wb") as file:
                file.write(body)
            into = query.removesuffix(" FORMAT RowBinary")
            query = f"{into} FROM INFILE {quoted(path)} SETTINGS {clause} FORMAT RowBinary"
            return self.session.query(query).bytes()
        if query.endswith(" FORMAT RowBinary"):
            return self.session.query(query.removesuffix("FORMAT RowBinary") + f"SETTINGS {clause}", "RowBinary").bytes()
        return self.session.query(query, "TSV").bytes()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def drop(self):
        self.close_connection = True
        self.connection.shutdown(2)

    def do_GET(self):
        self.answer(200, b"Ok.\n")

    def do_POST(self):
        engine = self.server.engine
        address = urlsplit(self.path)
        sent = {name: values[-1] for name, values in parse_qs(address.query, keep_blank_values=True).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.password and self.headers.get("X-ClickHouse-Key") != self.server.password:
            return self.answer(403, b"Code: 516. DB::Exception: default: Authentication failed", [("X-ClickHouse-Exception-Code", "516")])
        with engine.lock:
            database = sent.get("database", "default")
            if address.path == "/fault":
                engine.faults[database] = (int(sent["after"]), sent["mode"]) if "after" in sent else None
                return self.answer(200, str(engine.counts.pop(database, 0)).encode())
            number = engine.counts.get(database, 0)
            engine.counts[database] = number + 1
            fault = engine.faults.get(database)
            mode = fault[1] if fault and fault[0] == number else None
            if mode == "before":
                return self.drop()
            try:
                result = engine.run(sent, self.headers.get("Content-Type", ""), body)
            except Exception as error:  # Whatever it is, the client is told.
                text = str(error)
                code = re.search(r"Code: (\d+)", text)
                if mode is None:
                    number = code[1] if code else "0"
                    status = {"60": 404, "81": 404, "516": 403}.get(number, 500)
                    return self.answer(status, text.encode(), [("X-ClickHouse-Exception-Code", number)])
                result = b""
            if mode == "after":
                return self.drop()
            self.answer(200, result)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """Clients that leave before their answer are a part of the tests."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


server = Server(("127.0.0.1", 0), Handler)
server.engine = Engine(sys.argv[1])
server.password = ""
if len(sys.argv) > 2:
    cert, key, client_ca, server.password = sys.argv[2:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.load_verify_locations(client_ca)
    context.verify_mode = ssl.CERT_REQUIRED
    # The handshake is made by the connection's own thread, not by the one that takes connections.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_port, flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
shutil.rmtree(sys.argv[1], ignore_errors=True)
os._exit(0)
