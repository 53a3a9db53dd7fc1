package settings

import "time"

// Serve has the flags of the server. A field whose name is that of a field of
// server.Config means the same. Flags that are tagged live change on SIGHUP, see Flag.
type Serve struct {
	Config ConfigFile `help:"Read flags from this JSON file: {\"listen\": \"127.0.0.1:8088\", …}." placeholder:"FILE"`

	Listen      string `help:"Address of the public listener: HOST:PORT, or unix:PATH?mode=0660&owner=USER:GROUP." default:"127.0.0.1:8080" group:"Listeners"`
	API         string `name:"api" help:"Address of the API listener, likewise." default:"127.0.0.1:8081" group:"Listeners"`
	Path        string `help:"Path of the WebSocket endpoint; server-sent events (sse), the echo endpoint and the console are in the same directory." default:"/ws" group:"Listeners"`
	SSE         bool   `name:"sse" help:"Serve server-sent events, with the same authentication and limits." default:"true" negatable:"" group:"Listeners"`
	Echo        bool   `help:"Serve an echo endpoint, which needs no token. By default only with --auth none on loopback without --trusted-proxy and --proxy-protocol; --echo=false turns it off there." group:"Listeners"`
	Console     bool   `help:"Serve the test console." default:"true" negatable:"" group:"Listeners"`
	ConsolePush bool   `help:"Let the test console push, with an API key that is entered in it." group:"Listeners"`
	Pprof       bool   `help:"Serve /debug/pprof on the API listener, and sample allocations for its heap profiles." group:"Listeners"`

	tlsFlags         `embed:""`
	authFlags        `embed:""`
	connectHookFlags `embed:""`
	revocationFlags  `embed:""`
	ticketFlags      `embed:""`
	ClientPublish    []string `help:"Topic that every client may publish to with --auth none, or a prefix such as chat.*; repeatable. Tokens and the connect hook name the topics of each client." placeholder:"TOPIC" group:"Security"`
	InsecureIdentity bool     `help:"Allow --auth none on addresses other than loopback." group:"Security"`
	AllowOrigin      []string `help:"Origin of web pages that may connect, besides the same host: https://app.example.com, https://*.example.com, null or *; repeatable." placeholder:"ORIGIN" group:"Security" live:"yes"`
	AllowQuery       []string `help:"Query parameter that a handshake may have although the server does not read it, or a prefix such as utm_*; repeatable. Any other unknown parameter is rejected." placeholder:"NAME" group:"Security"`
	APIKeyFile       string   `name:"api-key-file" help:"Keys that the API accepts, one per line; also FANFARE_API_KEY. Required on addresses other than loopback." placeholder:"FILE" group:"Security" live:"yes"`

	MaxConnections   int           `help:"Maximum number of connections; 0: what the descriptor limit allows." default:"0" placeholder:"N" group:"Limits" live:"yes"`
	ConnectionsPerIP int           `name:"connections-per-ip" help:"Maximum number of connections from one address; loopback is exempt." default:"1000" group:"Limits" live:"yes"`
	HandshakesPerIP  int           `name:"handshakes-per-ip" help:"Handshakes per second from one address, with a burst of ten times as many." default:"50" group:"Limits" live:"yes"`
	HandshakeRate    int           `help:"Handshakes per second in total, with a burst of ten times as many." default:"20000" group:"Limits" live:"yes"`
	Forwarded        bool          `help:"The trusted proxies name the client in Forwarded (RFC 7239), not in X-Forwarded-For, which is then ignored." group:"Limits" live:"yes"`
	TrustedProxy     []network     `help:"Address or network of a proxy whose X-Forwarded-For is believed; repeatable." placeholder:"ADDRESS" group:"Limits" live:"yes"`
	ProxyProtocol    []network     `help:"Address or network of a proxy whose connections begin with a PROXY protocol header, version 1 or 2; required from there, rejected from elsewhere. Repeatable." placeholder:"ADDRESS" group:"Limits" live:"yes"`
	APIProxyProtocol []network     `name:"api-proxy-protocol" help:"The same for the API listener." placeholder:"ADDRESS" group:"Limits"`
	SessionsPerUser  int           `help:"Maximum number of sessions of one user, on this node." default:"16" group:"Limits" live:"yes"`
	SessionsFull     string        `help:"What happens to a user's session beyond that: reject it with 429, or close-oldest." enum:"reject,close-oldest" default:"reject" group:"Limits" live:"yes"`
	TopicsPerSession int           `help:"Maximum number of topics of one session." default:"100" group:"Limits" live:"yes"`
	PositionsPerUser int           `help:"Maximum number of durable topics, chosen by clients, in which what a user acknowledged is stored." default:"1000" group:"Limits"`
	PositionsPerIP   int           `name:"positions-per-ip" help:"The same for the users of one address; loopback is exempt." default:"10000" group:"Limits"`
	MaxMessage       size          `help:"Maximum size of a message from a client." default:"64KiB" group:"Limits"`
	MaxPayload       size          `help:"Maximum size of a pushed payload." default:"1MiB" group:"Limits"`
	MaxMessageRate   int           `help:"Messages per second from one session, with a burst of ten times as many." default:"100" group:"Limits" live:"yes"`
	MaxByteRate      size          `help:"Bytes per second from one session, with a burst of ten times as many." default:"256KiB" group:"Limits" live:"yes"`
	MaxHeader        size          `help:"Maximum size of a handshake request." default:"8KiB" group:"Limits"`
	HandshakeTimeout time.Duration `help:"Time from accept to the end of the handshake request." default:"10s" group:"Limits" live:"yes"`

	Compression        bool `help:"Offer permessage-deflate (RFC 7692)." group:"Compression"`
	CompressionLevel   int  `help:"1 (fastest) to 9 (smallest); 0 is as fast as 1 and takes less memory." default:"0" group:"Compression"`
	CompressionMin     size `help:"Compress messages of at least this size." default:"256" group:"Compression"`
	CompressionRatio   int  `help:"Maximum inflation ratio of a client's message, applied past 64 KiB." default:"100" group:"Compression"`
	CompressionContext int  `help:"Size of the window that clients may keep between messages, as a power of two from 9 to 15; 0: none. Takes that much memory per session that uses it." default:"0" placeholder:"BITS" group:"Compression"`

	PingInterval time.Duration `help:"Ping a session that sent nothing for this long." default:"25s" group:"Heartbeats" live:"yes"`
	PingTimeout  time.Duration `help:"Close it if it sends nothing for this much longer." default:"10s" group:"Heartbeats" live:"yes"`

	QueueBytes size   `help:"Maximum size of a session's outbound queue." default:"64KiB" group:"Slow consumers"`
	UserFull   string `help:"What a push to a user does when the queue is full: close the session with 1013, or drop-oldest." enum:"close,drop-oldest" default:"close" group:"Slow consumers" live:"yes"`
	TopicFull  string `help:"The same for topics and broadcasts." enum:"close,drop-oldest" default:"drop-oldest" group:"Slow consumers" live:"yes"`

	inboxFlags `embed:"" group:"Durable messages"`

	messageFlags `embed:"" group:"Messages of clients"`

	webhookFlags `embed:"" group:"Webhooks"`

	pusherFlags `embed:"" group:"Pusher"`

	DrainDelay   time.Duration `help:"After SIGTERM, serve for this long while /readyz answers 503, so that load balancers find out." default:"0s" group:"Draining" live:"yes"`
	DrainRate    int           `help:"Sessions closed per second then." default:"2000" group:"Draining" live:"yes"`
	DrainSpread  time.Duration `help:"Time within which clients are asked to come back, at random." default:"5s" group:"Draining" live:"yes"`
	DrainTimeout time.Duration `help:"Time after which the remaining connections are closed at once." default:"30s" group:"Draining" live:"yes"`
	CloseTimeout time.Duration `help:"Time for a client to answer a close frame." default:"5s" group:"Draining" live:"yes"`

	Transport string `help:"How connections are watched: epoll, easygo, goroutine, or default: epoll on Linux." enum:"default,epoll,easygo,goroutine" default:"default" group:"Engine"`
	Workers   int    `help:"Maximum number of goroutines that serve ready connections, including those blocked in hooks." default:"1024" group:"Engine"`

	Control        string        `help:"Path of the control socket, where fanfare upgrade asks; none: no socket. By default control.sock in $RUNTIME_DIRECTORY or --data-dir." placeholder:"PATH" group:"Upgrade"`
	Keep           bool          `help:"Run the server as a child process, and start it again when it dies: idle sessions go on then, as after SIGKILL. Linux, without TLS on the public listener." group:"Upgrade"`
	UpgradeTimeout time.Duration `help:"How long a new process may take to take over, before this one goes on by itself." default:"30s" group:"Upgrade" live:"yes"`

	LogFormat string `help:"text or json." enum:"text,json" default:"text" group:"Logging"`
	LogLevel  level  `help:"debug, info, warn or error." default:"info" group:"Logging" live:"yes"`

	given given // set by Parse
}
