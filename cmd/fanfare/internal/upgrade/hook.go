package upgrade

// AtStep, if not nil, is called with each step that this process sends or has received. Tests
// use it to kill the process.
var AtStep func(step Step, sends bool)

func atStep(step Step, sends bool) {
	if AtStep != nil {
		AtStep(step, sends)
	}
}
