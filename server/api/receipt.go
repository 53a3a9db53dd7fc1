package api

import (
	"errors"
	"math"
	"time"

	"github.com/valyala/fasthttp"

	"fanfare/server"
	"fanfare/server/api/internal/problem"
)

// receiptAnswer describes a receipt.
type receiptAnswer struct {
	ID         string      `json:"id"`
	Written    int         `json:"written"`
	Confirmed  int         `json:"confirmed"`
	Silent     int         `json:"silent"`
	Final      bool        `json:"final"`
	RoundTrips *roundTrips `json:"round_trip_ms,omitempty"` // nil: nothing is confirmed
	coverage
}

// roundTrips are in milliseconds.
type roundTrips struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

// getReceipt serves GET /v1/receipts/{id}.
func (a *API) getReceipt(ctx *fasthttp.RequestCtx, in names) *problem.Problem {
	r, err := a.srv.Receipt(a.quit, in.id)
	switch {
	case errors.Is(err, server.ErrNoReceipt) && !r.Complete():
		return problem.Errorf(503, "unavailable", "no such receipt on the nodes that have answered; try again")
	case err != nil:
		return problem.Errorf(404, "not_found", "no such receipt; receipts are forgotten after a while")
	}
	answer := receiptAnswer{ID: in.id, Written: r.Written, Confirmed: r.Confirmed, Silent: r.Silent, Final: r.Final, coverage: coverageOf(r.Coverage)}
	if r.Confirmed > 0 {
		answer.RoundTrips = &roundTrips{milliseconds(r.P50), milliseconds(r.P95), milliseconds(r.P99)}
	}
	answerJSON(ctx, answer)
	return nil
}

// milliseconds rounds to what a bucket of round trips can tell.
func milliseconds(d time.Duration) float64 {
	return math.Round(float64(d)/float64(10*time.Microsecond)) / 100
}
