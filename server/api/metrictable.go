package api

import "github.com/prometheus/client_golang/prometheus"

// This file names the metrics. To add one, add a line to numbers, or to labeled if it has a
// label.

// number is a metric with one value. value reports false where the metric does not exist,
// as on a server without a store.
type number struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(f *figures) (float64, bool)
}

type integer interface{ ~int | ~int64 }

func gauge[T integer](name, help string, value func(f *figures) T) number {
	return number{newDesc(name, help), prometheus.GaugeValue, func(f *figures) (float64, bool) { return float64(value(f)), true }}
}

func counter(name, help string, value func(f *figures) int64) number {
	return number{newDesc(name, help), prometheus.CounterValue, func(f *figures) (float64, bool) { return float64(value(f)), true }}
}

// ofStore makes a metric one of servers with a store.
func (n number) ofStore() number {
	value := n.value
	n.value = func(f *figures) (float64, bool) {
		if f.Store == nil || f.Replay == nil {
			return 0, false
		}
		return value(f)
	}
	return n
}

// ofCluster makes a metric one of nodes of a cluster.
func (n number) ofCluster() number {
	value := n.value
	n.value = func(f *figures) (float64, bool) {
		if f.Cluster == nil {
			return 0, false
		}
		return value(f)
	}
	return n
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

var numbers = []number{
	gauge("sessions", "Open sessions.", func(f *figures) int64 { return f.Sessions }),
	gauge("connections", "Open connections, including those in their handshake.", func(f *figures) int64 { return f.Connections }),
	gauge("connections_limit", "Limit of fanfare_connections.", func(f *figures) int { return f.MaxConnections }),
	gauge("users", "Users with a session.", func(f *figures) int { return f.Users }),
	gauge("topics", "Topics with a subscriber.", func(f *figures) int { return f.Topics }),
	gauge("nodes", "Live nodes of the cluster, including this one.", func(f *figures) int { return f.Nodes }),
	gauge("workers", "Goroutines that serve ready connections.", func(f *figures) int { return f.Workers }),
	gauge("unfinished_bytes", "Memory of handshakes and messages that are not complete.", func(f *figures) int64 { return f.UnfinishedBytes }),
	counter("connections_opened_total", "Connections accepted.", func(f *figures) int64 { return f.Opened }),
	counter("connections_closed_total", "Connections closed.", func(f *figures) int64 { return f.Closed }),
	counter("handshakes_total", "Completed handshakes.", func(f *figures) int64 { return f.Handshakes }),
	counter("aborted_handshakes_total", "Connections that ended before their request was complete.", func(f *figures) int64 { return f.Aborted }),
	counter("plain_requests_total", "Requests on the public listener that are not handshakes.", func(f *figures) int64 { return f.Fallback }),
	counter("received_total", "Messages received from clients.", func(f *figures) int64 { return f.Received }),
	counter("pings_total", "Heartbeats sent.", func(f *figures) int64 { return f.Pings }),
	counter("missed_heartbeats_total", "Sessions closed because of a missed heartbeat.", func(f *figures) int64 { return f.Dead }),
	counter("forced_closes_total", "Closing handshakes that timed out.", func(f *figures) int64 { return f.Forced }),
	counter("hook_panics_total", "Panics recovered in hooks.", func(f *figures) int64 { return f.Panics }),
	counter("broken_writes_total", "Connections whose peer was gone at a write.", func(f *figures) int64 { return f.Broken }),
	counter("stale_events_total", "Events for connections that were already closed.", func(f *figures) int64 { return f.Stale }),
	counter("accept_pauses_total", "Times that accepting paused for lack of descriptors or memory.", func(f *figures) int64 { return f.Starved }),
	counter("workers_overrun_total", "Workers started because a batch took too long.", func(f *figures) int64 { return f.Overrun }),
	counter("workers_blocked_total", "Times that workers were started because hooks blocked.", func(f *figures) int64 { return f.Blocked }),
	counter("workers_saturated_total", "Times that the limit of workers was reached.", func(f *figures) int64 { return f.Saturated }),
	counter("turns_yielded_total", "Connections requeued because they had more work than one turn may take.", func(f *figures) int64 { return f.Yielded }),

	gauge("api_connections", "Open connections of the API.", func(f *figures) int { return f.API.Connections }),
	gauge("api_connections_limit", "Limit of fanfare_api_connections.", func(f *figures) int { return f.API.MaxConnections }),
	counter("api_received_bytes_total", "Bytes received by the API.", func(f *figures) int64 { return f.API.ReceivedBytes }),
	counter("api_sent_bytes_total", "Bytes sent by the API.", func(f *figures) int64 { return f.API.SentBytes }),
	counter("api_batch_lines_total", "Lines of batches that were served.", func(f *figures) int64 { return f.API.Lines }),
	counter("api_batch_lines_failed_total", "Lines of batches that were answered with an error.", func(f *figures) int64 { return f.API.BadLines }),
	gauge("api_batch_answer_bytes", "Answers to batches that their clients have not read.", func(f *figures) int64 { return f.API.AnswerBytes }),
	counter("api_panics_total", "Panics recovered in the API.", func(f *figures) int64 { return f.APIPanics }),

	gauge("store_ready", "1 while messages can be stored, else 0.", func(f *figures) int { return flag(f.Store.Ready) }).ofStore(),
	gauge("store_bytes", "Bytes stored.", func(f *figures) int64 { return f.Store.Bytes }).ofStore(),
	gauge("store_bytes_limit", "Limit of fanfare_store_bytes; 0 if unknown.", func(f *figures) int64 { return f.Store.MaxBytes }).ofStore(),
	counter("store_appended_total", "Messages stored.", func(f *figures) int64 { return f.Store.Appended }).ofStore(),
	counter("store_duplicates_total", "Messages whose ID was already stored.", func(f *figures) int64 { return f.Store.Duplicates }).ofStore(),
	counter("store_rejected_total", "Messages rejected at a limit.", func(f *figures) int64 { return f.Store.Rejected }).ofStore(),
	counter("store_evicted_total", "Messages removed at a limit to make room for newer ones.", func(f *figures) int64 { return f.Store.Evicted }).ofStore(),
	counter("store_read_total", "Messages read.", func(f *figures) int64 { return f.Store.Read }).ofStore(),
	counter("store_acked_total", "Acknowledged offsets stored.", func(f *figures) int64 { return f.Store.Acked }).ofStore(),
	counter("store_unavailable_total", "Operations that failed.", func(f *figures) int64 { return f.Store.Unavailable }).ofStore(),

	gauge("replay_sessions", "Sessions that stored messages were or are sent to.", func(f *figures) int { return f.Replay.Sessions }).ofStore(),
	gauge("replay_waiting", "Sessions whose replay waits for a worker or the store.", func(f *figures) int { return f.Replay.Waiting }).ofStore(),
	counter("replay_messages_total", "Stored messages written to sessions.", func(f *figures) int64 { return f.Replay.Replayed }).ofStore(),
	counter("replay_gaps_total", "Gaps announced to sessions.", func(f *figures) int64 { return f.Replay.Gaps }).ofStore(),
	counter("replay_resets_total", "Sessions that resumed with an offset of another epoch.", func(f *figures) int64 { return f.Replay.Resets }).ofStore(),
	counter("replay_expired_total", "Stored messages not delivered because they had expired.", func(f *figures) int64 { return f.Replay.Expired }).ofStore(),
	counter("replay_damaged_total", "Reads of stored messages that found damage.", func(f *figures) int64 { return f.Replay.Damaged }).ofStore(),
	counter("replay_too_big_closes_total", "Sessions that the client closed with 1009 while a stored message was in flight.", func(f *figures) int64 { return f.Replay.Refused }).ofStore(),
	counter("replay_skipped_total", "Stored messages skipped because the client closed with 1009 twice.", func(f *figures) int64 { return f.Replay.Skipped }).ofStore(),
	counter("replay_unanswered_total", "Sessions that do not answer pings properly.", func(f *figures) int64 { return f.Replay.Unanswered }).ofStore(),
	counter("replay_held_dropped_total", "Live messages that waited for older stored ones when their session ended.", func(f *figures) int64 { return f.Replay.Dropped }).ofStore(),
	counter("replay_panics_total", "Sessions closed because of a panic during replay.", func(f *figures) int64 { return f.Replay.Panics }).ofStore(),

	gauge("cluster_ready", "1 while the other nodes can be reached, else 0.", func(f *figures) int { return flag(f.Cluster.Ready) }).ofCluster(),
}

// labeled are counters with one value for each value of their label. The known values are
// there from the start.
var labeled = []struct {
	desc  *prometheus.Desc
	known []string
	value func(f *figures) map[string]int64
}{
	{newDesc("delivered_total", "Messages written or queued to a session, by kind of push.", "kind"), nil,
		func(f *figures) map[string]int64 { return f.Delivered }},
	{newDesc("dropped_total", "Messages that did not reach a session, by reason.", "reason"), nil,
		func(f *figures) map[string]int64 { return f.Dropped }},
	{newDesc("closes_total", "Ended sessions, by close code (RFC 6455, 7.4).", "code"),
		[]string{"1000", "1001", "1002", "1003", "1005", "1006", "1007", "1008", "1009", "1011", "1012", "1013"},
		func(f *figures) map[string]int64 { return f.Closes }},
	{newDesc("rejected_total", "Rejected connections and handshakes, by HTTP status.", "status"),
		[]string{"400", "401", "403", "404", "405", "408", "421", "426", "429", "431", "500", "503"},
		func(f *figures) map[string]int64 { return f.Rejected }},
	{newDesc("limited_total", "Connections, handshakes, sessions and requests stopped by a limit.", "limit"), nil,
		func(f *figures) map[string]int64 { return f.Limited }},
}

var (
	batchDesc = newDesc("batch_seconds", "Upper bound of the time that a ready connection waited for its turn: from the poll to the last turn of its batch.")
	infoDesc  = newDesc("info", "Always 1.", "version", "transport", "node")
)
