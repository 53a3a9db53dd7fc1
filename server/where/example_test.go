package where_test

import (
	"fmt"

	"fanfare/server/where"
)

// A push that is for old versions of one platform.
func ExampleParse() {
	old, err := where.Parse(`platform == "ios" && version < "5.2"`)
	if err != nil {
		panic(err)
	}
	for _, session := range []map[string]string{
		{"platform": "ios", "version": "5.1.9"},
		{"platform": "ios", "version": "5.10"},
		{"platform": "android"},
	} {
		labels, err := where.MakeLabels(session)
		fmt.Println(old.Match(labels), err)
	}
	_, err = where.Parse(`platform = "ios"`)
	fmt.Println(err)
	// Output:
	// true <nil>
	// false <nil>
	// false <nil>
	// column 10: unexpected =: want ==
}
