package netpoll

var kinds = []Kind{Epoll, Easygo, Goroutine}
