package connecthook

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"fanfare/server"
)

// TestAnswers: only an answer that says an identity in every detail makes a session.
func TestAnswers(t *testing.T) {
	soon := time.Now().Add(time.Hour).Unix()
	for _, tt := range []struct {
		name, body string
		status     int
		text       string
		result     string
	}{
		{"user", `{"user":"alice"}`, 101, "", "accepted"},
		{"everything", fmt.Sprintf(`{"user":"alice","topics":[],"data":[1],"expires":%d.5}`, soon), 101, "", "accepted"},
		{"rejection", `{"reject":{"status":403,"text":"no subscription"}}`, 403, "no subscription", "rejected"},
		{"rejection without a text", `{"reject":{"status":401}}`, 401, "Unauthorized", "rejected"},
		{"rejection by a server's fault", `{"reject":{"status":500,"text":"x"}}`, 502, "could not identify", "invalid"},
		{"rejection with a header", `{"reject":{"status":403,"text":"a\r\nb"}}`, 502, "could not identify", "invalid"},
		{"rejection of a user", `{"user":"alice","reject":{"status":403}}`, 502, "could not identify", "invalid"},
		{"misspelled rejection", `{"user":"alice","rejected":{"status":403}}`, 502, "could not identify", "invalid"},
		{"unknown member inside", `{"reject":{"status":403,"reason":"x"}}`, 502, "could not identify", "invalid"},
		{"nothing", `{}`, 502, "could not identify", "invalid"},
		{"empty", ``, 502, "could not identify", "invalid"},
		{"null", `null`, 502, "could not identify", "invalid"},
		{"empty user", `{"user":""}`, 502, "could not identify", "invalid"},
		{"user in another case", `{"User":"alice"}`, 502, "could not identify", "invalid"},
		{"user twice", `{"user":"alice","user":"bob"}`, 502, "could not identify", "invalid"},
		{"user is a number", `{"user":7}`, 502, "could not identify", "invalid"},
		{"user is not a name", `{"user":"a\u0000"}`, 502, "could not identify", "invalid"},
		{"user is not UTF-8", "{\"user\":\"a\xff\"}", 502, "could not identify", "invalid"},
		{"topics is a string", `{"user":"alice","topics":"news"}`, 502, "could not identify", "invalid"},
		{"topic is not a name", `{"user":"alice","topics":[""]}`, 502, "could not identify", "invalid"},
		{"capabilities", `{"user":"alice","subscribe":["a"],"publish":["b*"],"presence":["*"],"limits":{"messages":5}}`, 101, "", "accepted"},
		{"misspelled limit", `{"user":"alice","limits":{"mesages":5}}`, 502, "could not identify", "invalid"},
		{"limit of zero", `{"user":"alice","limits":{"topics":0}}`, 502, "could not identify", "invalid"},
		{"limits is a number", `{"user":"alice","limits":5}`, 502, "could not identify", "invalid"},
		{"publish is a string", `{"user":"alice","publish":"b"}`, 502, "could not identify", "invalid"},
		{"labels", `{"user":"alice","labels":{"platform":"ios"}}`, 101, "", "accepted"},
		{"label is null", `{"user":"alice","labels":{"platform":null}}`, 502, "could not identify", "invalid"},
		{"label has a bad name", `{"user":"alice","labels":{"1":"x"}}`, 502, "could not identify", "invalid"},
		{"presence has no name", `{"user":"alice","presence":["b\n*"]}`, 502, "could not identify", "invalid"},
		{"rejection with capabilities", `{"publish":[],"reject":{"status":403}}`, 502, "could not identify", "invalid"},
		{"expired", `{"user":"alice","expires":1}`, 502, "could not identify", "invalid"},
		{"expires never", `{"user":"alice","expires":1e300}`, 502, "could not identify", "invalid"},
		{"expires is text", `{"user":"alice","expires":"2030-01-01T00:00:00Z"}`, 502, "could not identify", "invalid"},
		{"two documents", `{"user":"alice"}{}`, 502, "could not identify", "invalid"},
		{"a page", `<html>alice</html>`, 502, "could not identify", "invalid"},
		{"too long", `{"user":"alice","data":"` + strings.Repeat("x", maxAnswer) + `"}`, 503, "try again later", "failed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := start(t, answers(200, tt.body), func(cfg *Config, _ *server.Config, _ *server.Endpoint) {
				if tt.result == "invalid" {
					cfg.Failure = Anonymous // which is not for answers
				}
			})
			resp, body := answer(t, f.request(t, "/ws"))
			if resp.StatusCode != tt.status || !strings.Contains(body, tt.text) {
				t.Errorf("%s %q", resp.Status, body)
			}
			if m := f.Counts(); m[""+tt.result] != 1 {
				t.Errorf("metrics %v", m)
			}
		})
	}
}

// TestAnswerErrors: the log names the member, what it is, and what is wanted.
func TestAnswerErrors(t *testing.T) {
	for _, tt := range []struct{ answer, want string }{
		{`{"user":"a","limits":{"messages":0}}`, "limits.messages is 0, a number: want a whole number from 1 to 2147483647"},
		{`{"user":"a","limits":{"messages":-1}}`, "limits.messages is -1, a number: want a whole number from 1 to 2147483647"},
		{`{"user":"a","limits":{"topics":"5"}}`, `limits.topics is "5", a string: want a whole number from 1 to 2147483647`},
		{`{"user":"a","limits":{"topics":1e19}}`, "limits.topics is 1e19, a number: want a whole number from 1 to 2147483647"},
		{`{"user":"a","limits":{"mesages":5}}`, "limits.mesages is unknown: want messages or topics"},
		{`{"user":"a","limits":{"a b":5}}`, `limits."a b" is unknown: want messages or topics`},
		{`{"user":"a","limits":[5]}`, "limits is a list: want an object with messages and topics, numbers from 1"},
		{`{"user":7}`, "user is a number: user must be a string"},
		{`{"user":"a","topics":"news"}`, "topics is a string: topics must be a list of strings"},
		{`{"user":"a","publish":["b",1]}`, "publish[1] is a number: publish must be a list of strings"},
		{`{"user":"a","labels":{"os":1}}`, "labels.os is a number: labels must be an object with strings"},
		{`{"user":"a","expires":"soon"}`, "expires is a string: expires must be a number, the seconds since 1970"},
		{`{"reject":{"status":"403"}}`, "reject.status is a string: reject must be an object with a status from 400 to 499, and a text"},
		{`{"usr":"a"}`, "unknown member usr"},
		{`{"user":"a","user":"b"}`, "member user is there more than once"},
		{`[]`, "it is a list: want an object with user or reject"},
		{`<html>`, "it is not one JSON object"},
	} {
		if _, err := parseAnswer([]byte(tt.answer), time.Now()); err == nil || err.Error() != tt.want {
			t.Errorf("%s: got  %v\nwant %s", tt.answer, err, tt.want)
		}
	}
}

// FuzzAnswer: an identity has a valid user, whatever the backend says.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"user":"alice","topics":["a*"],"expires":9e9,"data":null}`))
	f.Add([]byte(`{"reject":{"status":403,"text":"x"}}`))
	now := time.Now()
	f.Fuzz(func(t *testing.T, body []byte) {
		id, err := parseAnswer(body, now)
		if err != nil {
			if id.User != "" {
				t.Errorf("%q has an error and a user", body)
			}
			return
		}
		var a Answer
		if e := json.Unmarshal(body, &a); e != nil || a.User != id.User || a.User == "" || a.Reject != nil {
			t.Errorf("%q is %+v", body, id)
		}
	})
}
