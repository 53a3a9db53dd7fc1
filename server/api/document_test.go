package api

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"fanfare/registry"
	"fanfare/server"
)

func TestDocument(t *testing.T) {
	tests := []struct {
		name, in string
		want     string // what is delivered, or what is wrong: code, then a part of the message
	}{
		{"object", `{"users":["a"],"data":{"b": [1,2] }}`, `text {"b": [1,2] }`},
		{"order of fields", `{"data":1,"topics":["t"]}`, `text 1`},
		{"string as data keeps its quotes", `{"users":["a"],"data":"x"}`, `text "x"`},
		{"number keeps its digits", `{"users":["a"],"data":1.000000000000000000001e400}`, `text 1.000000000000000000001e400`},
		{"escapes stay", `{"users":["a"],"data":"\u00e4"}`, `text "\u00e4"`},
		{"null as data", `{"users":["a"],"data":null}`, `text null`},
		{"false as data", `{"users":["a"],"data": false }`, `text false`},
		{"half a surrogate pair stays", `{"users":["a"],"data":"\ud83d"}`, `text "\ud83d"`},
		{"half a surrogate pair in text", `{"users":["a"],"text":"\ud83d"}`, "bad_json at byte 23: invalid surrogate pair"},
		{"half a surrogate pair in a user", `{"users":["\ud83d"],"text":"x"}`, "bad_json at byte 11: invalid surrogate pair"},
		{"half a surrogate pair in a topic", `{"topics":["\udc00"],"text":"x"}`, "bad_json at byte 12: invalid surrogate pair"},
		{"half a surrogate pair in an id", `{"users":["a"],"durable":true,"id":"\ud83d","data":1}`, "bad_json at byte 36: invalid surrogate pair"},
		{"a name twice in data", `{"users":["a"],"data":{"b":1,"b":2}}`, `text {"b":1,"b":2}`},
		{"a field twice", `{"users":["a"],"text":"x","text":"y"}`, `bad_json at byte 26: field "text" comes twice`},
		{"a field twice, once escaped", `{"users":["a"],"\u0075sers":["b"],"text":"x"}`, `field "users" comes twice`},
		{"a field twice, once null", `{"users":null,"users":["a"],"text":"x"}`, `field "users" comes twice`},
		{"an escaped field", `{"\u0075sers":["a"],"text":"x"}`, "text x"},
		{"text", `{"users":["a"],"text":"gr\u00fc\u00dfe \ud83d\ude00\n"}`, "text grüße 😀\n"},
		{"empty text", `{"users":["a"],"text":""}`, "text "},
		{"base64", `{"users":["a"],"base64":"AAEC/w=="}`, "binary \x00\x01\x02\xff"},
		{"empty base64", `{"users":["a"],"base64":""}`, "binary "},
		{"broadcast", `{"broadcast":true,"text":"x"}`, "text x"},
		{"broadcast off", `{"broadcast":false,"users":["a"],"text":"x"}`, "text x"},
		{"null is as good as none", `{"users":["a"],"topics":null,"text":"x","base64":null}`, "text x"},
		{"space around", " \t\n{\"users\":[\"a\"],\"text\":\"x\"}\r\n ", "text x"},

		{"nothing", ``, "bad_json the document is empty"},
		{"blank", "  ", "bad_json the document is empty"},
		{"cut", `{"users":["a"`, "bad_json at byte 13: the document ends too early"},
		{"not JSON", `{"users":[a]}`, "bad_json at byte 10: invalid character 'a' at start of value"},
		{"comma at the end", `{"users":["a"],}`, "bad_json at byte 14: invalid character ',' at start of value"},
		{"two documents", `{"users":["a"],"text":"x"} {}`, "bad_json at byte 27: invalid character '{' after the document"},
		{"rubbish after it", `{"users":["a"],"text":"x"}]`, "bad_json at byte 26: invalid character ']' after the document"},
		{"array", `[]`, "bad_json at byte 0: the document cannot be an array"},
		{"string", `"x"`, "bad_json at byte 0: the document cannot be a string"},
		{"unknown field", `{"user":["a"],"text":"x"}`, `bad_json at byte 1: unknown field "user"; did you mean "users"?`},
		{"unknown field after others", `{"users":["a"] , "txt":"x"}`, `bad_json at byte 17: unknown field "txt"; did you mean "text"?`},
		{"unknown field without a neighbor", `{"something":1}`, `unknown field "something"; want users, topics, broadcast, data, text, base64, durable, ttl, id`},
		{"another case", `{"Users":["a"],"text":"x"}`, `bad_json at byte 1: unknown field "Users"; did you mean "users"?`},
		{"long unknown field", `{"` + strings.Repeat("u", 1000) + `":["a"],"text":"x"}`, `unknown field "` + strings.Repeat("u", 40) + `"`},
		{"object as users", `{"users":{},"text":"x"}`, "bad_json at byte 9: users cannot be an object"},
		{"user as string", `{"users":"a","text":"x"}`, "bad_json at byte 9: users cannot be a string"},
		{"number as user", `{"users":[1],"text":"x"}`, "bad_json at byte 10: users[0] cannot be a number"},
		{"number as text", `{"users":["a"],"text":1}`, "bad_json at byte 22: text cannot be a number"},
		{"word as broadcast", `{"broadcast":"yes","text":"x"}`, "bad_json at byte 13: broadcast cannot be a string"},
		{"no base64", `{"users":["a"],"base64":"AA!C"}`, "bad_json base64: invalid character at byte 2 of it"},
		{"invalid UTF-8 in data", "{\"users\":[\"a\"],\"data\":\"\xff\"}", "bad_json invalid UTF-8 at byte 23"},
		{"invalid UTF-8 in a name", "{\"users\":[\"ä\xc3\"],\"data\":1}", "bad_json invalid UTF-8 at byte 13"},
		{"too deep", `{"users":["a"],"data":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, "bad_json at byte "},

		{"no payload", `{"users":["a"]}`, "bad_document the document has 0 payloads: want exactly one of data, text and base64"},
		{"two payloads", `{"users":["a"],"data":1,"text":"x"}`, "bad_document the document has 2 payloads: want exactly one of"},
		{"no receivers", `{"text":"x"}`, "bad_document no receivers: want users, topics or broadcast"},
		{"empty list", `{"users":[],"text":"x"}`, "bad_document no receivers: want users, topics or broadcast"},
		{"null", `null`, "bad_document"},
		{"broadcast and users", `{"broadcast":true,"users":["a"],"text":"x"}`, "bad_document a broadcast goes to every session"},
		{"empty name", `{"users":["a",""],"text":"x"}`, "bad_name users[1] is empty or null: want a name"},
		{"null as a user", `{"users":[null],"text":"x"}`, "bad_name users[0] is empty or null: want a name"},
		{"null as a topic", `{"topics":["t",null],"text":"x"}`, "bad_name topics[1] is empty or null: want a name"},
		{"control character in a name", `{"topics":["\u0000"],"text":"x"}`, "bad_name topics[0]: bad name: control character"},
		{"long name", `{"topics":["` + strings.Repeat("n", 257) + `"],"text":"x"}`, "bad_name topics[0]: bad name: 257 bytes"},
	}
	var d document // one for all, as in a batch: nothing may be left over
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := describe(&d, tt.in); !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func describe(d *document, in string) string {
	if p := d.parse([]byte(in)); p != nil {
		return p.Code + " " + p.Message
	}
	op, payload := d.payload()
	if op == server.Text {
		return "text " + string(payload)
	}
	return "binary " + string(payload)
}

// TestDocumentIsNew: a document contains nothing of those that were parsed before in the
// same memory.
func TestDocumentIsNew(t *testing.T) {
	tests := []struct{ name, before, in string }{
		{"null as a user", `{"users":["alice"],"text":"a"}`, `{"users":[null],"text":"b"}`},
		{"null after a user", `{"users":["alice","bob"],"text":"a"}`, `{"users":["carol",null],"text":"b"}`},
		{"null as a topic", `{"topics":["news"],"text":"a"}`, `{"topics":[null],"text":"b"}`},
		{"null beyond a shorter list", `{"users":["alice","bob"],"text":"a"}`, `{"users":["dave",null],"text":"b"}`},
		{"null after a document that was rejected", `{"users":["alice"]}`, `{"users":[null],"text":"b"}`},
		{"null as data", `{"users":["alice"],"data":"a"}`, `{"users":["alice"],"data":null}`},
		{"null as text", `{"users":["alice"],"text":"a"}`, `{"users":["alice"],"text":null}`},
		{"null as base64", `{"users":["alice"],"base64":"AAEC"}`, `{"users":["alice"],"base64":null}`},
		{"null as everything else", `{"users":["alice"],"durable":true,"ttl":"1h","id":"1","data":1}`,
			`{"users":["alice"],"broadcast":null,"durable":null,"ttl":null,"id":null,"data":1}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var used, fresh document
			used.parse([]byte(tt.before))
			got, want := describe(&used, tt.in), describe(&fresh, tt.in)
			if got != want || !slices.Equal(used.Users, fresh.Users) || !slices.Equal(used.Topics, fresh.Topics) {
				t.Errorf("got %q for %q %q, want %q for %q %q", got, used.Users, used.Topics, want, fresh.Users, fresh.Topics)
			}
		})
	}
}

// TestLongDocument: long documents get the same errors as short ones.
func TestLongDocument(t *testing.T) {
	data := strings.Repeat("x", stretch)
	for _, tt := range []struct{ in, want string }{
		{`{"users":["a"],"text":"` + data + `"}`, "text xxx"},
		{`{"users":["a"],"text":"` + data + `"`, "bad_json at byte 65560: the document ends too early"},
		{`{"users":["a"],"text":"` + data + `"} {}`, "bad_json at byte 65562: invalid character '{' after the document"},
		{`{"users":["a"],"text":"` + data + `",}`, "bad_json at byte 65560: invalid character ','"},
		{`{"users":"a","text":"` + data + `"}`, "bad_json at byte 9: users cannot be a string"},
		{`{"users":["a"],"text":"` + data + `","more":1}`, `bad_json at byte 65561: unknown field "more"`},
	} {
		if got := describe(new(document), tt.in); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%.80q, want %q", got, tt.want)
		}
	}
}

// FuzzDocument: what parse accepts obeys the rules, and a document means the same when it
// is parsed in the memory of others.
func FuzzDocument(f *testing.F) {
	for _, seed := range []string{
		`{"users":["a","b"],"topics":["t"],"data":{"x":1}}`,
		`{"broadcast":true,"text":"x"}`,
		`{"users":["a"],"base64":"AAEC"}`,
		`{"users":["a"],"data":1} `, `{"users":["a"],"data":1}{`, `{"Users":["a"],"data":1}`, `[]`, ``, "\xff", `{"users":null,"users":["a"],"data":null}`,
		`{"users":[null],"text":"x"}`, `{"users":["a","b","c"],"topics":["s","t"],"users":["d"],"text":"x"}`, `{"topics":["s",null],"users":[null,null],"text":"x"}`,
	} {
		f.Add(seed)
	}
	var used document
	f.Fuzz(func(t *testing.T, in string) {
		var fresh document
		first := describe(&fresh, in)
		if again := describe(&used, in); again != first {
			t.Fatalf("%q, then %q", first, again)
		}
		if !slices.Equal(used.Users, fresh.Users) || !slices.Equal(used.Topics, fresh.Topics) {
			t.Fatalf("for %q %q, then for %q %q", fresh.Users, fresh.Topics, used.Users, used.Topics)
		}
		if fresh.parse([]byte(in)) != nil {
			return
		}
		if !json.Valid([]byte(in)) {
			t.Errorf("accepted, but not JSON")
		}
		for _, name := range append(fresh.Users, fresh.Topics...) {
			if err := registry.CheckName(name); err != nil {
				t.Errorf("accepted: %v", err)
			}
		}
		if fresh.Broadcast == (len(fresh.Users)+len(fresh.Topics) > 0) {
			t.Errorf("broadcast %v, %d users, %d topics", fresh.Broadcast, len(fresh.Users), len(fresh.Topics))
		}
		if op, payload := fresh.payload(); op == server.Text && !utf8.Valid(payload) {
			t.Errorf("text message with invalid UTF-8: %q", payload)
		}
	})
}

// TestAPIPushDocument delivers one document to many, once to each.
func TestAPIPushDocument(t *testing.T) {
	s := newAPIServer(t, server.Config{}, Config{}, nil)
	alice := s.connect("/ws?user=alice&topic=news&topic=sport")
	phone := s.connect("/ws?user=alice")
	bob := s.connect("/ws?user=bob&topic=news")
	carol := s.connect("/ws?user=carol&topic=sport")
	tests := []struct {
		name, receivers string
		to              []*wsClient
	}{
		{"one user", `"users":["alice"]`, []*wsClient{alice, phone}},
		{"one topic", `"topics":["news"]`, []*wsClient{alice, bob}},
		{"users", `"users":["bob","carol"]`, []*wsClient{bob, carol}},
		{"a user twice", `"users":["bob","bob"]`, []*wsClient{bob}},
		{"topics that overlap", `"topics":["news","sport"]`, []*wsClient{alice, bob, carol}},
		{"a topic twice", `"topics":["news","news"]`, []*wsClient{alice, bob}},
		{"user and topic", `"users":["alice"],"topics":["news"]`, []*wsClient{alice, phone, bob}},
		{"one user offline", `"users":["offline","bob"],"topics":["none"]`, []*wsClient{bob}},
		{"all offline", `"users":["offline"],"topics":["none"]`, nil},
		{"every session", `"broadcast":true`, []*wsClient{alice, phone, bob, carol}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := s.call("POST", "/v1/push", `{`+tt.receivers+`,"data":{"for":"`+tt.name+`"}}`)
			if want := receivers(len(tt.to)); got.status != 200 || got.body != want {
				t.Errorf("got %v, want %s", got, want)
			}
			for _, c := range tt.to {
				c.expect(server.Text, `{"for":"`+tt.name+`"}`)
			}
		})
	}
	if got := s.call("POST", "/v1/push", `{"users":["bob"],"base64":"AAEC/w=="}`); got.status != 200 {
		t.Errorf("got %v", got)
	}
	bob.expect(server.Binary, "\x00\x01\x02\xff")
	if got := s.Stats().Delivered; got["user"] != 2+2+1+2+1+1 || got["topic"] != 2+3+2+1 || got["broadcast"] != 4 {
		t.Errorf("counted %v", got)
	}
}
