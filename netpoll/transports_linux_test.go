package netpoll

var transports = []Transport{Epoll, Easygo, Goroutine}
