package netpoll

const defaultKind = Epoll

func newPoller(k Kind) (Poller, error) {
	switch k {
	case Epoll:
		return newEpoll()
	case Easygo:
		return newEasygo()
	}
	return nil, nil
}
