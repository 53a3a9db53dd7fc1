// Package settings reads what the user has written for fanfare serve, and makes the
// configurations of all packages of it.
//
// [Parse] reads the command line, the environment and the config file, in this order of
// precedence, into a [Serve], which has a field for each flag. [Serve.Plan] reads the files that
// flags name, such as keys and certificates, and returns a [Plan]: the Config of every package,
// validated. It opens no listener and no store, and makes no request, so that serve, check and a
// reload find the same errors.
//
// An error names the flag, the environment variable or the key of the config file, with its
// value and what to write instead. [InFlags] does this for errors of libraries, which name the
// fields of a Config. No error and no text of a [Flag] contains a secret.
//
// A value that has no effect in combination with the others is an error, and so is an empty
// one; an environment variable that is empty counts as unset.
package settings
