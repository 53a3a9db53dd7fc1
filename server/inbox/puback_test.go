package inbox

import (
	"encoding/json"
	"testing"
)

func TestDecodePubAck(t *testing.T) {
	for _, answer := range []string{
		`{"stream":"FANFARE_INBOX","seq":17}`,
		`{"stream":"S","seq":18446744073709551615}`,
		`{"stream":"S","domain":"hub","seq":3}`,
		`{"stream":"S","seq":3,"duplicate":true}`,
		`{"stream":"S","seq":0,"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 5"}}`,
		`{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},"stream":"S","seq":0}`,
		`{"stream":"a\"b","seq":3}`,
		`{"stream":"S","seq":-3}`,
		`{"stream":"S","seq":3`,
		`{"stream":"S","seq":}`,
		``,
	} {
		var want pubAck
		wantErr := json.Unmarshal([]byte(answer), &want)
		got, err := decodePubAck([]byte(answer))
		if (err == nil) != (wantErr == nil) {
			t.Errorf("%s: %v, want %v", answer, err, wantErr)
		}
		if err != nil {
			continue
		}
		if got.Seq != want.Seq || got.Duplicate != want.Duplicate || (got.Error == nil) != (want.Error == nil) ||
			got.Error != nil && *got.Error != *want.Error {
			t.Errorf("%s: got %+v, want %+v", answer, got, want)
		}
	}
}
