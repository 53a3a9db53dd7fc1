package inbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"fanfare/server/inbox/internal/account"
	"fanfare/server/inbox/internal/subject"
	"fanfare/server/store"
)

// markAccount flushes what was appended, and records the first and last offsets of the
// streams in the account.
func (s *Store) markAccount() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Timeout)
	defer cancel()
	l := s.local
	var m account.Mark
	m.Ms = s.now().UnixMilli()
	for k := range subject.Kinds {
		st, err := s.state(ctx, k)
		if err != nil {
			return err
		}
		s.bytes[k].Store(int64(st.Bytes))
		if k != subject.Ack {
			m.First[k], m.Last[k] = st.First, st.Last
		}
	}
	if err := l.flush(s.now()); err != nil {
		return err
	}
	size, durable := l.account.Sizes()
	if m.First == s.marked.First && m.Last == s.marked.Last && size == s.markedSize && durable == size {
		return nil
	}
	if err := l.account.Mark(m); err != nil {
		return err
	}
	s.marked = m
	s.markedSize, _ = l.account.Sizes()
	if s.markedSize > 2*s.snapshotSize+compactMin {
		if err := l.account.Compact(l.dir, s.limits(), s.history[subject.Inbox].list(), s.now()); err != nil {
			return fmt.Errorf("inbox: account: %w", err)
		}
		s.snapshotSize, _ = l.account.Sizes()
		s.ends.forget(s.forgotten())
	}
	return nil
}

// compactMin is how much an account grows before it is compacted, in bytes.
const compactMin = 16 << 20

// errDisappeared reports that the directory is not what it was.
var errDisappeared = fmt.Errorf("%w", store.ErrUnavailable)

// present returns errDisappeared, wrapped, if the directory is not what it was, and another
// error if it cannot look, because no file descriptor is left or it may not.
func (e *embedded) present() error {
	held, err := e.lock.Stat()
	if err == nil {
		var named os.FileInfo
		if named, err = os.Stat(filepath.Join(e.dir, account.LockName)); err == nil && !os.SameFile(held, named) {
			err = fmt.Errorf("another directory has its place: %w", fs.ErrNotExist)
		}
	}
	for k := range subject.Kinds {
		if err == nil {
			_, err = os.Stat(filepath.Join(account.StreamDir(e.dir, k), "meta.inf"))
		}
		if err == nil {
			err = e.blocks[k].Present(e.dir, k)
		}
	}
	if err == nil {
		_, err = os.Stat(e.account.File)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("%w: the directory %s, or a part of it, has disappeared; restore it and restart: %w",
			errDisappeared, e.dir, err)
	}
	return err
}
