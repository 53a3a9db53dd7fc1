package settings

import (
	"fmt"
	"log/slog"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Flag is a flag of serve with its value.
type Flag struct {
	Name    string // without dashes
	Default string
	Live    bool // a reload changes it

	value reflect.Value
}

// Flags returns all flags of serve.
func (cmd *Serve) Flags() []Flag {
	all := make([]Flag, 0, len(flagFields))
	v := reflect.ValueOf(cmd).Elem()
	for _, f := range flagFields {
		all = append(all, Flag{flagName(f), f.Tag.Get("default"), f.Tag.Get("live") != "", v.FieldByIndex(f.Index)})
	}
	return all
}

// Same reports whether f and g have the same value.
func (f Flag) Same(g Flag) bool { return reflect.DeepEqual(f.value.Interface(), g.value.Interface()) }

// Set gives f the value of g, the same flag of another Serve.
func (f Flag) Set(g Flag) { f.value.Set(g.value) }

// String returns the value as a user would write it, without secrets.
func (f Flag) String() string { return shown(f.value) }

// InForce describes the effective value of a flag, also where the flag has no value.
func (cmd *Serve) InForce(f Flag) string {
	text := f.String()
	switch {
	case f.Name == "data-dir" && text == "" && cmd.NATS == "":
		return defaultDataDir()
	case f.Name == "max-connections" && text == "0":
		return "(as many as descriptors allow)"
	case f.Name == "inbox-positions" && text == "0":
		return shown(reflect.ValueOf(cmd.InboxDisk / 16))
	case f.Name == "allow-origin" && text == "":
		return "(the same host)"
	case f.Name == "echo":
		return fmt.Sprint(cmd.servesEcho())
	case text == "":
		return "-"
	}
	return text
}

// flagFields are the fields of serveCmd that are flags.
var flagFields = slices.DeleteFunc(reflect.VisibleFields(reflect.TypeFor[Serve]()), func(f reflect.StructField) bool {
	return f.Anonymous || !f.IsExported()
})

var upper = regexp.MustCompile(`[A-Z]`)

// flagName of a field, as kong makes it.
func flagName(f reflect.StructField) string {
	if name := f.Tag.Get("name"); name != "" {
		return name
	}
	return strings.TrimPrefix(strings.ToLower(upper.ReplaceAllString(f.Name, "-$0")), "-")
}

// userinfo is the part of a URL that may have a password or a token.
var userinfo = regexp.MustCompile(`(^|,)([a-z]+://)?[^,]*@`)

// shown is the value of a flag as a user would write it, without secrets.
func shown(v reflect.Value) string {
	switch v := v.Interface().(type) {
	case time.Duration:
		return formatDuration(v)
	case size:
		return v.String()
	case flush:
		return v.String()
	case level:
		return strings.ToLower(slog.Level(v).String())
	case []network:
		var all []string
		for _, p := range prefixes(v) {
			if p.IsSingleIP() {
				all = append(all, p.Addr().String())
				continue
			}
			all = append(all, p.String())
		}
		return strings.Join(all, ",")
	case []string:
		return strings.Join(v, ",")
	case []keySet:
		var all []string
		for _, k := range v {
			all = append(all, k.String())
		}
		return strings.Join(all, " ")
	case []hookFlag:
		var all []string
		for _, h := range v {
			all = append(all, h.String())
		}
		return strings.Join(all, ",")
	default:
		return userinfo.ReplaceAllString(fmt.Sprint(v), "${1}${2}xxxxx@")
	}
}
