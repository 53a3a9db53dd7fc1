// Package where has the labels of sessions, and the language in which a push says which
// labels its receivers have:
//
//	platform == "ios" && version < "5.2"
//	plan in ("team", "enterprise") || has beta && !(region == "eu")
//
// # Grammar
//
//	expr    = and { "||" and } .
//	and     = term { "&&" term } .
//	term    = "!" term | "(" expr ")" | "has" label | label test .
//	test    = ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) string
//	        | "in" "(" string { "," string } ")" .
//	label   = letter or "_", then letters, digits, "_", "." and "-"; not "has" or "in" .
//	string  = text in " or ', in which \ precedes a quote or \ .
//
// # Meaning
//
//   - == and in compare bytes. != is the opposite of ==, so it is true for a session
//     without the label.
//   - <, <=, > and >= compare versions: numbers that are joined by dots, of any length. A v
//     that precedes them, and everything from the first "-", "+" or space on, is ignored;
//     numbers that are missing are 0. So "v5.10-beta" is greater than "5.9.1" and neither
//     less nor greater than "5.10.0". They are false for a session without the label, and
//     for a label that is not a version.
//   - ! binds more tightly than &&, and && more tightly than ||.
//
// # Contract
//
// [Parse] reads an expression once; an error is an [*Error] with the column. [Expr.Match]
// allocates nothing and looks at most once at each part of the expression, of which there are
// at most [MaxTerms]. [Labels] are a string, so that equal ones can be shared.
package where
