package account

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/minio/highwayhash"

	"fanfare/server/inbox/internal/subject"
)

// The block files of JetStream's file store, read while no server uses them. The
// server trusts its index after an orderly end, and otherwise truncates a block at
// the first record that does not verify, with all that follows: so what is
// damaged must be found before it starts.
//
// A block is a sequence of records:
//
//	length(4) sequence(8) time(8) len(subject)(2) subject [len(header)(4) header] payload checksum(8)
//
// in little endian. The top bit of the length says that there is a header, that
// of the sequence a tombstone (the message with this sequence was removed), the
// next one a message that was erased in place. The checksum is HighwayHash-64 of
// all but the lengths; its key is the SHA-256 of the stream's name and the block's
// number.

const (
	RecordHeader = 22
	recordHash   = 8
	hasHeader    = 1 << 31
	isTombstone  = 1 << 63
	isErased     = 1 << 62
	maxRecord    = 32 << 20
)

// record is one record of a block. Its slices point into the block.
type record struct {
	seq     uint64
	tomb    bool  // the message seq was removed
	erased  bool  // the message was overwritten
	time    int64 // ns since 1970
	subject []byte
	payload []byte
	size    int // in the file
}

// blockReader reads the records of one block.
type blockReader struct {
	hash   hash.Hash64
	prefix []byte // of its subjects
}

func newBlockReader(k subject.Kind, index uint64) *blockReader {
	key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", k.Stream(), index))
	h, err := highwayhash.New64(key[:])
	if err != nil {
		panic("BUG: inbox: " + err.Error())
	}
	return &blockReader{h, []byte(k.Prefix())}
}

// next returns the record at the beginning of b, if there is a valid one.
func (r *blockReader) next(b []byte) (rec record, ok bool) {
	if len(b) < RecordHeader+recordHash {
		return rec, false
	}
	le := binary.LittleEndian
	length, nameLen := le.Uint32(b), int(le.Uint16(b[20:]))
	size := int(length &^ hasHeader)
	if size < RecordHeader+recordHash+nameLen || size > min(len(b), maxRecord) {
		return rec, false
	}
	seq := le.Uint64(b[4:])
	subject, rest := b[RecordHeader:RecordHeader+nameLen], b[RecordHeader+nameLen:size-recordHash]
	rec = record{seq: seq &^ (isTombstone | isErased), tomb: seq&isTombstone != 0, erased: seq&isErased != 0 || seq == 0,
		time: int64(le.Uint64(b[12:])), subject: subject, payload: rest, size: size}
	// Before the checksum, which is slow for lengths that mean nothing.
	if !rec.tomb && !rec.erased && !bytes.HasPrefix(subject, r.prefix) {
		return rec, false
	}
	hashed := rest
	if length&hasHeader != 0 {
		if len(rest) < 4 {
			return rec, false
		}
		// The checksum leaves out this length, but an empty line ends the header.
		n := int(le.Uint32(rest))
		if n < 4 || n > len(rest)-4 || bytes.Index(rest[4:], []byte("\r\n\r\n")) != n-4 {
			return rec, false
		}
		hashed, rec.payload = rest[4:], rest[4+n:]
	}
	r.hash.Reset()
	r.hash.Write(b[4:20])
	r.hash.Write(subject)
	r.hash.Write(hashed)
	return rec, bytes.Equal(r.hash.Sum(nil), b[size-recordHash:size])
}

// tombstone encodes the record that a message was removed.
func (r *blockReader) tombstone(seq uint64, ns int64) []byte {
	le := binary.LittleEndian
	b := make([]byte, RecordHeader, RecordHeader+recordHash)
	le.PutUint32(b, RecordHeader+recordHash)
	le.PutUint64(b[4:], seq|isTombstone)
	le.PutUint64(b[12:], uint64(ns))
	r.hash.Reset()
	r.hash.Write(b[4:20])
	return r.hash.Sum(b)
}

// damage is a part of a file that does not verify.
type damage struct {
	File   string
	Offset int
	Bytes  int
}

// String names the file, the length and the place of the damage.
func (d damage) String() string {
	return fmt.Sprintf("%s: %d bytes at %d", filepath.Base(d.File), d.Bytes, d.Offset)
}

// records calls f for each valid record of a block, with where it begins, and
// returns what is damaged.
// The file may end within a record that was being written when the process ended:
// torn is where that begins, or the length of the block.
func (r *blockReader) records(b []byte, f func(at int, rec record)) (damaged []damage, torn int) {
	for at := 0; at < len(b); {
		if rec, ok := r.next(b[at:]); ok {
			f(at, rec)
			at += rec.size
			continue
		}
		begin := at
		at = r.resume(b, at)
		if at == len(b) {
			return damaged, begin
		}
		damaged = append(damaged, damage{Offset: begin, Bytes: at - begin})
	}
	return damaged, len(b)
}

// resume returns where records continue after one at begin that does not verify:
// where it says that it ends, or else at the next that does verify.
func (r *blockReader) resume(b []byte, begin int) int {
	if rest := b[begin:]; len(rest) >= 4 {
		size := int(binary.LittleEndian.Uint32(rest) &^ hasHeader)
		if size >= RecordHeader+recordHash && size < len(rest) {
			if _, ok := r.next(rest[size:]); ok {
				return begin + size
			}
		}
	}
	for at := begin + 1; at < len(b); at++ {
		if _, ok := r.next(b[at:]); ok {
			return at
		}
	}
	return len(b)
}

// block is a block file.
type block struct {
	index uint64
	file  string
}

// blockFiles returns the block files of a stream in order, and their directory.
func blockFiles(dir string, k subject.Kind) (blocks []block, msgs string, err error) {
	msgs = filepath.Join(StreamDir(dir, k), "msgs")
	entries, err := os.ReadDir(msgs)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, msgs, nil
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".blk")
		index, bad := strconv.ParseUint(name, 10, 32)
		if ok && bad == nil {
			blocks = append(blocks, block{index, filepath.Join(msgs, e.Name())})
		}
	}
	slices.SortFunc(blocks, func(a, b block) int { return cmp.Compare(a.index, b.index) })
	return blocks, msgs, err
}

// damagedDescriptions returns the files that describe a stream, and are missing or damaged:
// without them the server does not know the stream.
func damagedDescriptions(dir string) (files []string) {
	for k := range subject.Kinds {
		if _, err := os.Stat(StreamDir(dir, k)); err != nil {
			continue
		}
		file := filepath.Join(StreamDir(dir, k), "meta.inf")
		meta, err := os.ReadFile(file)
		sum, sumErr := os.ReadFile(filepath.Join(StreamDir(dir, k), "meta.sum"))
		key := sha256.Sum256([]byte(k.Stream()))
		h, hashErr := highwayhash.New64(key[:])
		if hashErr != nil {
			panic("BUG: inbox: " + hashErr.Error())
		}
		h.Write(meta)
		if err != nil || sumErr != nil || hex.EncodeToString(h.Sum(nil)) != string(sum) {
			files = append(files, file)
		}
	}
	return files
}

// lastBlock returns the greatest number of a block file of a stream, 0 if it has none.
func lastBlock(dir string, k subject.Kind) (uint64, error) {
	blocks, msgs, err := blockFiles(dir, k)
	if err == nil && len(blocks) > 0 {
		return blocks[len(blocks)-1].index, nil
	}
	if err == nil {
		_, err = os.Stat(msgs)
	}
	return 0, err
}

// StreamDir returns the directory in which the embedded server stores a stream.
func StreamDir(dir string, k subject.Kind) string {
	return filepath.Join(dir, "jetstream", "$G", "streams", k.Stream())
}

// SyncBlocks flushes the files of a stream that may have been written of late: the
// last two blocks, and those written in the minute before now. What was appended
// earlier was flushed earlier.
func SyncBlocks(dir string, k subject.Kind, now time.Time) error {
	blocks, msgs, err := blockFiles(dir, k)
	if err != nil {
		return err
	}
	for i, blk := range blocks {
		if i < len(blocks)-2 {
			if info, err := os.Stat(blk.file); err != nil || now.Sub(info.ModTime()) > time.Minute {
				continue
			}
		}
		f, err := os.Open(blk.file)
		if os.IsNotExist(err) {
			continue // removed meanwhile
		}
		if err == nil {
			err = f.Sync()
			f.Close()
		}
		if err != nil {
			return err
		}
	}
	if _, err := os.Stat(msgs); err != nil {
		return nil // no such stream yet
	}
	return syncDir(msgs)
}
