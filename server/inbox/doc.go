// Package inbox implements store.Store on NATS JetStream: embedded in the process,
// or an outside cluster that several nodes share.
//
// # Contract
//
// All inboxes share one stream and all topics another; an offset is a sequence of
// the stream. Appends of one Store to one box are stored in the order of Begin;
// between Stores the order is that of the stream. Each message names the offset of
// its predecessor in the box: JetStream rejects an append that assumes another end
// of the box, so links are right if other nodes append, too, and a missing message shows.
//
// Messages, Bytes and Disk limit messages, Positions limits acknowledged positions, which are never
// evicted: a new one that does not fit is rejected with ErrFull. Messages whose TTL has passed
// stay, for their offsets, until a limit removes them. A payload has at most max_payload of NATS,
// less 4 KiB. An embedded store remembers the end of an emptied box while it keeps positions, so
// that a reader that has missed messages gets a gap. Open logs what lower limits remove, and fails
// if a limit that rejects would remove unread messages.
//
// # Loss
//
// A process that is killed loses nothing that was accepted. A power cut costs an embedded store
// up to Config.Sync; an outside cluster with three Replicas survives the loss of one machine.
//
// An embedded store keeps an account of what was accepted beside the files of JetStream,
// and compares the two at Open: every message is verified by checksum. If one is missing,
// for whatever reason, Open returns ErrDamaged with the number of messages and users, and
// changes nothing. With Config.AcceptLoss it opens: readers of a box whose messages are
// missing get Page.Gap. If the last messages of a box are missing, the box ends with a
// marker, an expired message, so that Last is greater than the last offset read;
// acknowledging it ends the gap. Lost positions begin at 0. Damaged positions of which an
// earlier record is left are logged with their number. A loss that a power cut may have
// caused is logged, and readers get a gap, without AcceptLoss. Copies of a directory that
// are used separately have different epochs.
//
// # Outages
//
// Open succeeds while an outside NATS is away or the disk is full; Ready says why the
// store cannot be used, and it recovers by itself. Streams that an outside NATS has
// lost are created again, with a new epoch and greater offsets than any before. An
// answer of a NATS server that is partitioned from the other replicas does not make a
// client's position invalid: a majority decides. While the disk is full an embedded store
// accepts nothing, but reads and purges, in space that it reserved. If its directory
// disappears, or its server hangs (Hung), the process must be started again.
//
// # Borrowed memory
//
// store.Entry.Payload is borrowed until Finish returns. Everything returned belongs
// to the caller.
//
// # Limitations
//
// Appends to one box wait for each other, one round trip to NATS each; those to different boxes share
// writes to an embedded server. Whether a topic was read by all subscribers is not known, so a full
// topic loses its oldest messages under every policy. A position expires after twice Config.Age
// without a change or Renew: its user is then a new one. A subscriber that never acknowledged, to a
// topic without messages, is not remembered. Open reads all stored messages, about a second for each
// GiB. The restored backup of a stream of an outside NATS is recognized only by a process that has
// seen a later offset, or by a later position; give the stream other metadata "fanfare-epoch" after
// restoring one. Damage is found at Open, and in a message when it is read, not in between.
package inbox
