package netpoll

const defaultTransport = Epoll

func newPoller(k Transport) (Poller, error) {
	switch k {
	case Epoll:
		return newEpoll()
	case Easygo:
		return newEasygo()
	}
	return nil, nil
}
