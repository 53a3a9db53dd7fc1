package settings

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestAPIKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte("# new\n first-key \r\n\nsecond-key"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, file, env string
		want            []string
	}{
		{"none", "", "", nil},
		{"environment", "", "env-key", []string{"env-key"}},
		{"file", file, "", []string{"first-key", "second-key"}},
		{"both", file, "env-key", []string{"first-key", "second-key", "env-key"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv(APIKeyEnv, test.env)
			if got, err := APIKeys(test.file); err != nil || !slices.Equal(got, test.want) {
				t.Errorf("got %q, %v, want %q", got, err, test.want)
			}
		})
	}
}

// TestAPIKeyFileErrors: what follows a line that is not a key is not dropped, and no
// error shows what may be a key.
func TestAPIKeyFileErrors(t *testing.T) {
	long := strings.Repeat("k", 70_000) // more than a buffered reader takes
	for _, test := range []struct{ name, text, want string }{
		{"over-long line", "first-key-0123456789\n" + long + "\nthird-key-0123456789\n", "line 2 of "},
		{"over-long comment", "# " + long + "\nkey-0123456789abc\n", ""},
		{"last line is over-long", "key-0123456789abc\n" + long, "line 2 of "},
		{"spaces", "key 0123456789abc\n", "line 1 of "},
		{"not ASCII", "# x\nschlüssel-0123456789\n", "line 2 of "},
		{"NUL", "key-0123456789abc\x00", "line 1 of "},
		{"huge", strings.Repeat("key-0123456789abc\n", 70_000), "longer than 1048576 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "keys")
			if err := os.WriteFile(file, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			keys, err := APIKeys(file)
			if test.want == "" {
				if err != nil || len(keys) != 1 {
					t.Errorf("%d keys, %v", len(keys), err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "kkkk") || strings.Contains(err.Error(), "0123456789") {
				t.Errorf("%.200v", err)
			}
		})
	}
}
