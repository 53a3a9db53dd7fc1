package settings

import (
	"log/slog"
	"os"
	"regexp"
	"strings"

	"github.com/alecthomas/kong"

	"fanfare/internal/similar"
)

// EnvPrefix begins the environment variables of this program.
const EnvPrefix = "FANFARE_"

// unsetEmpty makes empty variables count as unset, whatever the type of their flag.
func unsetEmpty() {
	for _, entry := range os.Environ() {
		if name, value, _ := strings.Cut(entry, "="); strings.HasPrefix(name, EnvPrefix) && value == "" {
			os.Unsetenv(name)
		}
	}
}

// WarnOfVariables logs variables with our prefix that no flag has. They are not an
// error: Kubernetes makes some for every service of the namespace.
func WarnOfVariables(app *kong.Application, log *slog.Logger) {
	known := map[string]bool{APIKeyEnv: true}
	var names []string // of the flags of serve
	for _, cmd := range app.Children {
		for _, f := range cmd.Flags {
			for _, env := range f.Envs {
				known[env] = true
				if cmd.Name == "serve" {
					names = append(names, env)
				}
			}
		}
	}
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, EnvPrefix) || known[name] || fromKubernetes(name, value) {
			continue
		}
		env, _ := similar.Nearest(name, names)
		log.Warn("unknown environment variable", "name", name, "nearest", env, "flag", "--"+strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(env, EnvPrefix), "_", "-")))
	}
}

// serviceVariable is what Kubernetes makes for a service called fanfare or fanfare-…,
// in the manner of Docker's links.
var serviceVariable = regexp.MustCompile(`^FANFARE_(.*_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PORT|PROTO|ADDR))?)$`)

func fromKubernetes(name, value string) bool {
	return serviceVariable.MatchString(name) ||
		strings.HasSuffix(name, "_PORT") && strings.Contains(value, "://") // a number is a mistake
}
