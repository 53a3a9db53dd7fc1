package receipt

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Window is how long after a delivery its pong counts.
	Window = time.Minute
	// Keep is how long a receipt is kept afterwards.
	Keep = 10 * time.Minute
	// Max bounds the receipts of a Book.
	Max = 1000
)

// Book has the receipts of a process. Its methods may be called by any goroutine.
type Book struct {
	aead cipher.AEAD

	mu       sync.RWMutex
	byID     map[string]*Receipt
	byNumber map[uint32]*Receipt // those that are open
	all      []*Receipt          // in the order in which they were opened
	last     uint32              // number
}

// NewBook returns an empty Book, with a key of its own.
func NewBook() *Book {
	var key [16]byte
	rand.Read(key[:]) // never fails
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("BUG: receipt: " + err.Error())
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("BUG: receipt: " + err.Error())
	}
	return &Book{aead: aead, byID: make(map[string]*Receipt), byNumber: make(map[uint32]*Receipt)}
}

// Open returns the receipt with an ID, which it creates if there is none. Deliveries go on
// for over.
func (b *Book) Open(id string, now, over time.Duration) *Receipt {
	b.mu.RLock()
	r := b.byID[id]
	b.mu.RUnlock()
	if r != nil {
		return r
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if r = b.byID[id]; r != nil {
		return r
	}
	if len(b.all) >= Max {
		b.removeLocked(b.all[0])
		b.all = slices.Delete(b.all, 0, 1)
	}
	b.last++
	r = &Receipt{book: b, id: id, number: b.last, until: now + over + Window}
	b.byID[id], b.byNumber[r.number] = r, r
	b.all = append(b.all, r)
	return r
}

// Find returns what a receipt has counted.
func (b *Book) Find(id string) (c Counts, ok bool) {
	b.mu.RLock()
	r := b.byID[id]
	b.mu.RUnlock()
	if r == nil {
		return c, false
	}
	return r.counts(), true
}

// Sweep closes receipts whose time is over, and removes those that were kept long enough.
func (b *Book) Sweep(now time.Duration) {
	b.mu.RLock()
	none := len(b.all) == 0
	b.mu.RUnlock()
	if none {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = slices.DeleteFunc(b.all, func(r *Receipt) bool {
		if now >= r.until {
			delete(b.byNumber, r.number)
			r.close()
		}
		if now < r.until+Keep {
			return false
		}
		b.removeLocked(r)
		return true
	})
}

func (b *Book) removeLocked(r *Receipt) {
	delete(b.byID, r.id)
	delete(b.byNumber, r.number)
}

// The payload of a ping is prefix, and in base64, so that a client which takes it for text
// returns it unchanged, the nonce and the sealed time. The nonce is the number of the receipt
// and that of the ping, which no other ping of the process has.
const (
	prefix    = 'r'
	nonceSize = 4 + 8
	sealed    = nonceSize + 8 + 16 // a time, and the tag of GCM
	// PayloadSize is the length of the payload of a ping, at most 125 (RFC 6455, 5.5).
	PayloadSize = 1 + (sealed*4+2)/3
)

var encoding = base64.RawURLEncoding

// IsPing reports whether a payload looks like that of a ping of a receipt. Heartbeats are empty, and
// pings that follow stored messages are numbers.
func IsPing(payload []byte) bool { return len(payload) == PayloadSize && payload[0] == prefix }

// Pong counts the pong of a session, and reports whether it answers a ping of an open
// receipt for the first time.
func (b *Book) Pong(session uint64, payload []byte, now time.Duration) bool {
	if !IsPing(payload) {
		return false
	}
	var room [sealed]byte
	if n, err := encoding.Decode(room[:], payload[1:]); err != nil || n != sealed {
		return false
	}
	nonce := room[:nonceSize]
	b.mu.RLock()
	r := b.byNumber[binary.BigEndian.Uint32(nonce)]
	b.mu.RUnlock()
	if r == nil {
		return false
	}
	var aad [8]byte
	binary.BigEndian.PutUint64(aad[:], session)
	plain, err := b.aead.Open(room[nonceSize:nonceSize], nonce, room[nonceSize:], aad[:])
	if err != nil {
		return false
	}
	sent := time.Duration(binary.BigEndian.Uint64(plain))
	return r.confirm(binary.BigEndian.Uint64(nonce[4:]), now-sent)
}

// Receipt counts the deliveries of one message in one process.
type Receipt struct {
	// Immutable.
	book   *Book
	id     string
	number uint32
	until  time.Duration // when pongs do not count any more

	// Atomic.
	pings   atomic.Uint64 // the number of the last ping
	written atomic.Int64
	silent  atomic.Int64

	// Guarded by mu.
	mu        sync.Mutex
	closed    bool
	confirmed int
	trips     [Buckets]uint32
	seen      map[uint64]*[pageBits / 64]uint64 // bits of confirmed pings, by number / pageBits
}

const pageBits = 4096

// AppendPing appends the payload of a ping to a session.
func (r *Receipt) AppendPing(dst []byte, session uint64, now time.Duration) []byte {
	var room [sealed]byte
	nonce := room[:nonceSize]
	binary.BigEndian.PutUint32(nonce, r.number)
	binary.BigEndian.PutUint64(nonce[4:], r.pings.Add(1))
	var plain, aad [8]byte
	binary.BigEndian.PutUint64(plain[:], uint64(now))
	binary.BigEndian.PutUint64(aad[:], session)
	return encoding.AppendEncode(append(dst, prefix), r.book.aead.Seal(nonce, nonce, plain[:], aad[:]))
}

// Written counts n deliveries, or takes them back if n is negative; answers says that a ping
// follows the message.
func (r *Receipt) Written(n int, answers bool) {
	r.written.Add(int64(n))
	if !answers {
		r.silent.Add(int64(n))
	}
}

// confirm counts the pong to a ping, which the book has sent, once.
func (r *Receipt) confirm(ping uint64, took time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	page := r.seen[ping/pageBits]
	if page == nil {
		if r.seen == nil {
			r.seen = make(map[uint64]*[pageBits / 64]uint64)
		}
		page = new([pageBits / 64]uint64)
		r.seen[ping/pageBits] = page
	}
	word, bit := &page[ping%pageBits/64], uint64(1)<<(ping%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	r.confirmed++
	r.trips[bucketOf(took)]++
	return true
}

func (r *Receipt) close() {
	r.mu.Lock()
	r.closed, r.seen = true, nil
	r.mu.Unlock()
}
