package settings

import (
	"reflect"
	"strings"
	"testing"
)

func TestKeySetFlag(t *testing.T) {
	for _, tt := range []struct {
		text, want string // of the error, or the fields
		set        keySet
	}{
		{"keys.json", "", keySet{source: "keys.json"}},
		{"https://a/keys?x=1,2,issuer=https://a/,audience=b", "", keySet{source: "https://a/keys?x=1,2", issuer: "https://a/", audiences: []string{"b"}}},
		{"https://a,audience=b,audience=c,issuer=d,x,ca=/e.pem", "", keySet{source: "https://a", issuer: "d,x", audiences: []string{"b", "c"}, ca: "/e.pem"}},
		{"http://a,insecure-http,issuer=b", "", keySet{source: "http://a", issuer: "b", insecure: true}},
		{",issuer=a", "want a URL or a file first", keySet{}},
		{"a,issuer=", "want issuer=ISS", keySet{}},
		{"a,issuer=b,issuer=c", "issuer is there more than once", keySet{}},
		{"a,insecure-http,insecure-http", "want issuer=ISS", keySet{}},
		{"a,insecure-http=yes", "insecure-http is there more than once", keySet{}},
		{"a,insecure-https", "want issuer=ISS", keySet{}},
	} {
		var k keySet
		err := k.UnmarshalText([]byte(tt.text))
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v, want %q", tt.text, err, tt.want)
			}
			continue
		}
		tt.set.text = tt.text
		if err != nil || !reflect.DeepEqual(k, tt.set) {
			t.Errorf("%s: %+v, %v", tt.text, k, err)
		}
	}
}
