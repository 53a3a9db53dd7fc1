package limit

// Descriptors is how the descriptor limit of the process is divided, so that no part takes the
// descriptors of another: a store that cannot open a file stores nothing.
//
//	  Open       the limit (RLIMIT_NOFILE)
//	- inner      files of the store, NATS, listeners, pollers
//	- lingering  connections to the public listener that are being rejected
//	- others     of the caller: requests to backends
//	- Open/16    connections of the API: API, and Rejected that are being rejected; at most 4,160
//	= Public     connections to the public listener
//
// Below 120 descriptors and those of the caller there is not enough for all.
type Descriptors struct {
	Open     int // 0: unknown, or far more than anything needs
	Public   int
	API      int
	Rejected int
}

const (
	// inner: a server with a store has 17 to 22 descriptors at rest. JetStream opens up to
	// 16 more files at a time, two connections to NATS and those of an upgrade are below 10.
	inner = 64
	// lingering is netpoll's maxLingering.
	lingering = 32

	// MaxAPI is the most that the API takes where descriptors abound: backends keep few
	// connections.
	MaxAPI = 4096
	minAPI = 8
	// maxRejected is enough, because a rejection takes 2 s at most.
	maxRejected = 64
	// manyConnections are those of a server where the limit is unknown.
	manyConnections = 1 << 20
)

// Divide divides the descriptor limit of the process. others is the number that the caller
// keeps for itself.
func Divide(others int) Descriptors { return divide(OpenFiles(), others) }

func divide(open, others int) Descriptors {
	if open == 0 {
		return Descriptors{0, manyConnections, MaxAPI, maxRejected}
	}
	api := min(max(open/16, 2*minAPI), MaxAPI+maxRejected)
	d := Descriptors{Open: open, Rejected: min(maxRejected, api/2)}
	d.API = min(MaxAPI, api-d.Rejected)
	d.Public = max(open-inner-lingering-others-api, 1)
	return d
}
