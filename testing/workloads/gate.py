"""A gate before a program that serves its heap profile: HTTPS with basic authentication, as a proxy on its host would be.

gate.py PORT CERT KEY USER:PASSWORD BACKEND_PORT TOKEN: passes /debug/pprof/heap on, with the token. /endless never ends its answer, and /bomb
answers some thousand bytes that are a gigabyte when decompressed."""

import base64
import gzip
import http.server
import ssl
import sys
import urllib.request

PORT, CERT, KEY, LOGIN, BACKEND, TOKEN = sys.argv[1:]
WANTED = "Basic " + base64.b64encode(LOGIN.encode()).decode()
BOMB = gzip.compress(gzip.compress(bytes(1 << 20), 9) * 1024, 9)


class Gate(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.headers.get("Authorization") != WANTED:
            return self.answer(401, b"who are you?\n")
        if self.path == "/debug/pprof/heap":
            request = urllib.request.Request(f"http://127.0.0.1:{BACKEND}{self.path}", headers={"Authorization": "Bearer " + TOKEN})
            return self.answer(200, urllib.request.urlopen(request).read())
        if self.path == "/bomb":
            return self.answer(200, BOMB)
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(bytes(1 << 16))

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    # Readers that refuse the certificate, or an answer that does not end, are a part of the test.
    def handle_error(self, request, client_address):
        pass


server = Server(("127.0.0.1", int(PORT)), Gate)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERT, KEY)
# The handshake is the connection's own thread's, not the listener's.
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print("serves", flush=True)
server.serve_forever()
