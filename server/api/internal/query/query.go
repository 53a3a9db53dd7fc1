package query

import (
	"slices"
	"strconv"

	"github.com/valyala/fasthttp"

	"fanfare/registry"
	"fanfare/server/api/internal/problem"
)

// Check rejects unknown parameters, and repeated ones that are not repeatable, because a
// misspelt one would change what happens.
func Check(args *fasthttp.Args, known, repeatable []string) *problem.Problem {
	var seen uint
	for k := range args.All() {
		i := slices.Index(known, string(k))
		switch {
		case i < 0:
			return problem.Errorf(400, "bad_query", "unknown parameter %.40q%s", k, problem.Suggest(string(k), known))
		case seen&(1<<i) != 0 && !slices.Contains(repeatable, known[i]):
			return problem.Errorf(400, "bad_query", "parameter %q comes twice", known[i])
		}
		seen |= 1 << i
	}
	return nil
}

// Name returns the name of a user or topic from the query.
func Name(args *fasthttp.Args, field string) (string, *problem.Problem) {
	if !args.Has(field) {
		return "", problem.Errorf(400, "bad_query", "the parameter %s is missing", field)
	}
	name := string(args.Peek(field))
	if err := registry.CheckName(name); err != nil {
		return "", problem.Errorf(400, "bad_name", "%s: %s", field, err)
	}
	return name, nil
}

// Limit returns the parameter limit, or otherwise if there is none.
func Limit(args *fasthttp.Args, otherwise, most int) (int, *problem.Problem) {
	return Int(args, "limit", otherwise, 1, most)
}

// Int returns a number from the query, or otherwise if there is none.
func Int(args *fasthttp.Args, name string, otherwise, low, high int) (int, *problem.Problem) {
	if !args.Has(name) {
		return otherwise, nil
	}
	given := args.Peek(name)
	n, err := strconv.Atoi(string(given))
	if err != nil || n < low || n > high {
		return 0, problem.Errorf(400, "bad_query", "%s is %.40q: want %d to %d", name, given, low, high)
	}
	return n, nil
}

// All returns the values of a parameter that may come several times.
func All(args *fasthttp.Args, name string) (values []string) {
	for _, v := range args.PeekMulti(name) {
		values = append(values, string(v))
	}
	return values
}
