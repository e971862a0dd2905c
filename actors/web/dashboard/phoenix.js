// A member of one topic, over a WebSocket that speaks Phoenix 2.0.0: [join_ref, ref, topic, event, payload].
// It comes back by itself; `url()` is asked for an address each time, and gives null when there is no coming back.

const HEARTBEAT_MS = 25_000;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;

export class Member {
  constructor(topic, { url, onBroadcast, onStatus }) {
    this.topic = topic;
    this.url = url;
    this.onBroadcast = onBroadcast;
    this.onStatus = onStatus;
    this.wait = FIRST_WAIT_MS;
    this.isOver = false;
    this.open();
  }

  async open() {
    this.onStatus("Connecting …");
    let url;
    try {
      url = await this.url();
    } catch {
      this.retry();
      return;
    }
    if (this.isOver || url === null) return;
    const socket = (this.socket = new WebSocket(url));
    let ref = 0;
    const push = (joinRef, topic, event, payload) =>
      socket.send(JSON.stringify([joinRef, String(++ref), topic, event, payload]));
    socket.onopen = () => {
      push("1", this.topic, "phx_join", { config: { private: true } });
      this.heart = setInterval(() => push(null, "phoenix", "heartbeat", {}), HEARTBEAT_MS);
    };
    socket.onmessage = ({ data }) => this.receive(...JSON.parse(data).slice(2));
    socket.onclose = () => {
      clearInterval(this.heart);
      this.retry();
    };
  }

  receive(topic, event, payload) {
    if (topic !== this.topic) return;
    if (event === "broadcast") {
      this.onBroadcast(payload.event, payload.payload);
    } else if (event === "phx_reply" && payload.status === "ok") {
      this.wait = FIRST_WAIT_MS;
      this.onStatus("Connected.");
    } else if (event === "phx_reply" || event === "phx_error" || event === "phx_close") {
      this.socket.close();
    }
  }

  retry() {
    if (this.isOver) return;
    this.onStatus("Not connected; trying again.");
    setTimeout(() => this.isOver || this.open(), this.wait);
    this.wait = Math.min(2 * this.wait, LONGEST_WAIT_MS);
  }

  end() {
    this.isOver = true;
    this.socket?.close();
  }
}
