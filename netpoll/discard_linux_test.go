package netpoll

import "testing"

func TestQueueDiscardMessages(t *testing.T) {
	type message struct {
		text   string
		policy Policy
	}
	tests := []struct {
		name    string
		queued  []message
		sent    int
		busy    bool
		left    string
		dropped int
	}{
		{name: "empty"},
		{name: "an answer and messages", queued: []message{{"101 ", Control}, {"a", CloseOnFull}, {"b", DropOldest}, {"pong", Control}, {"c", CloseOnFull}}, left: "101 pong", dropped: 3},
		{name: "one that is begun", queued: []message{{"begun", DropOldest}, {"a", DropOldest}, {"pong", Control}}, sent: 2, left: "gunpong", dropped: 1},
		{name: "one that a goroutine writes", queued: []message{{"busy", CloseOnFull}, {"a", CloseOnFull}}, busy: true, left: "busy", dropped: 1},
		{name: "only control", queued: []message{{"a", Control}, {"b", Control}}, left: "ab"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			q := new(queue)
			for i, m := range test.queued {
				q.push([]byte(m.text), m.policy, i%2 == 0)
			}
			q.sent(test.sent)
			q.busy = test.busy
			dropped := q.discardMessages()
			var left []byte
			for _, b := range q.front(nil, maxPieces) {
				left = append(left, b...)
			}
			if string(left) != test.left || dropped != test.dropped || q.size != len(test.left) {
				t.Errorf("%q is left, %d dropped, size %d; want %q and %d", left, dropped, q.size, test.left, test.dropped)
			}
		})
	}
}
