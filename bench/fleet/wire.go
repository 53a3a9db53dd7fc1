package fleet

import (
	"encoding/base64"
	"fmt"
	"time"

	"fanfare/bench/load"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A command has exactly one of these fields set.
type command struct {
	Config  *load.Config      `json:"config,omitempty"` // the first command of all
	Dial    *load.DialPlan    `json:"dial,omitempty"`
	Echo    *load.EchoPlan    `json:"echo,omitempty"`
	Pace    *load.PacePlan    `json:"pace,omitempty"`
	Churn   *load.ChurnPlan   `json:"churn,omitempty"`
	Stick   int               `json:"stick,omitempty"`
	Faults  bool              `json:"faults,omitempty"` // report faults and pings, as every reply does
	Receive *load.ReceivePlan `json:"receive,omitempty"`
	Poll    bool              `json:"poll,omitempty"` // during Receive: report the number of received messages
	End     *uint32           `json:"end,omitempty"`  // end Receive; the number of the next broadcast

	Server int `json:"server,omitempty"` // process whose CPU time Dial and Echo measure
}

// A reply answers a command. A reply with an Arrival is sent without a command, while Receive runs.
type reply struct {
	Error   string              `json:"error,omitempty"`
	Arrival *load.Arrival       `json:"arrival,omitempty"`
	Dial    *load.DialResult    `json:"dial,omitempty"`
	Echo    *load.EchoResult    `json:"echo,omitempty"`
	Pace    *load.PaceResult    `json:"pace,omitempty"`
	Churn   *load.ChurnResult   `json:"churn,omitempty"`
	Stuck   int                 `json:"stuck,omitempty"`
	Count   int                 `json:"count,omitempty"` // to Poll
	Receive *load.ReceiveResult `json:"receive,omitempty"`
	Latency string              `json:"latency,omitempty"` // HDR histogram, V2 compressed
	Server  time.Duration       `json:"server,omitempty"`  // CPU
	Client  time.Duration       `json:"client,omitempty"`  // CPU
	Live    int                 `json:"live"`
	Pings   int                 `json:"pings,omitempty"`
	Faults  load.Faults         `json:"faults"`
}

// Pack encodes a histogram as text.
func Pack(h *hdrhistogram.Histogram) (string, error) {
	b, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return "", fmt.Errorf("fleet: pack histogram: %w", err)
	}
	return base64.StdEncoding.EncodeToString(b), nil
}

// Unpack decodes the output of Pack.
func Unpack(s string) (*hdrhistogram.Histogram, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("fleet: unpack histogram: %w", err)
	}
	h, err := hdrhistogram.Decode(b)
	if err != nil {
		return nil, fmt.Errorf("fleet: unpack histogram: %w", err)
	}
	return h, nil
}
