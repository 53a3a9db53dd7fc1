package upgrade

// AtStep is called with each step that this process sends or has received, if it is not nil.
// Tests end the process there.
var AtStep func(step Step, sends bool)

func atStep(step Step, sends bool) {
	if AtStep != nil {
		AtStep(step, sends)
	}
}
