package server

import (
	"context"

	"fanfare/server/internal/replay"
	"fanfare/server/store"
)

// purge deletes the stored messages of a box. When it has returned, none of them is written to
// the queue of a session of this process any more.
func (srv *Server) purge(ctx context.Context, box store.Box) (n uint64, err error) {
	srv.replay.Delete(box, func() { n, err = srv.gate.Purge(ctx, box) }, func(f func(replay.Receiver)) {
		l := lists.Get().(*[]*Session)
		defer putList(l)
		if box.User != "" {
			*l = srv.users.AppendUser(*l, box.User)
		} else {
			*l = srv.users.AppendTopic(*l, box.Topic)
		}
		for _, s := range *l {
			f(receiver{s})
		}
	})
	return n, err
}
