"""nginx with the module nchan: every path is a channel, and who connects to it publishes to it and subscribes to it.

Takes the folder that `install.py` made, writes a configuration, starts one process of nginx and says when it listens.
Nothing is logged, kept or compressed: a message goes to who is there.
"""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

CONFIGURATION = """
load_module {root}/usr/lib/nginx/modules/ngx_nchan_module.so;
daemon off;
master_process off;
pid {prefix}/pid;
error_log stderr error;
events {{ worker_connections 65536; multi_accept on; }}
http {{
    access_log off;
    tcp_nodelay on;
    client_max_body_size 1m;
    nchan_shared_memory_size 512m;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location ~ ^/(.+)$ {{
            nchan_pubsub websocket;
            nchan_channel_id $1;
            nchan_message_buffer_length 0;
            nchan_subscriber_first_message newest;
            nchan_websocket_ping_interval 0;
        }}
    }}
}}
"""
READY_S = 10.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_listening(port: int) -> None:
    deadline = time.monotonic() + READY_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), READY_S).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def main() -> None:
    root = Path(sys.argv[1])
    port, configuration = free_port(), root / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(root=root, prefix=root, port=port))
    command = ["setpriv", "--pdeathsig", "TERM", str(root / "usr/sbin/nginx")]
    nginx = subprocess.Popen([*command, "-p", str(root), "-c", str(configuration)])
    wait_listening(port)
    print(json.dumps({"event": "node.ready", "port": port}), file=sys.stderr, flush=True)
    nginx.wait()


if __name__ == "__main__":
    main()
