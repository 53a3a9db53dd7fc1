package replay

import "fanfare/server/store"

// AttachEmpty reports whether a receiver that is about to open needs no session, because nothing
// is stored for it, and the epoch of its inbox. The caller then tells the client where its
// inbox begins, as Receiver.Begin does; Open and Detach follow as after Attach. topics is the
// number of the receiver's durable topics.
//
// It must be called when a push can find the receiver: what is stored afterwards creates
// a session by its notice, as for a receiver whose session was disposed of.
func (v *Service) AttachEmpty(r Receiver, inbox Start, topics int) (epoch string, ok bool) {
	if inbox.Resume || topics > 0 || v.cfg.Sync != nil {
		return "", false
	}
	if mode := r.AckMode(); mode != AckByPong && mode != AckNone {
		return "", false // the client names offsets, or is told of them
	}
	box := store.Box{User: r.User()}
	if epoch = v.cfg.Store.Epoch(box); epoch == "" || !store.Empty(v.cfg.Store, box) {
		return "", false
	}
	return epoch, v.cfg.Store.Epoch(box) == epoch
}

// openEmpty looks at the inbox of a receiver that AttachEmpty was called for once more: Recheck
// passes over receivers that are not Open yet, and the store may have been away meanwhile.
func (v *Service) openEmpty(r Receiver) {
	if !store.Empty(v.cfg.Store, store.Box{User: r.User()}) {
		v.use(r, true, (*session).wake)
	}
}
