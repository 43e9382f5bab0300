// Package lan gives the processes of a test cluster machines of their own, as
// far as the network goes: one network namespace each, joined by a bridge. The
// kernel then drops, at the receiver, what the test asks it to drop, in each
// direction alone, and counts it.
//
// Nothing has a name outside: the namespaces belong to the program's threads and
// the bridge to a namespace of the program itself, so all of it is gone with
// the program, however it ends. The processes started in them are killed with it.
//
// It needs Linux, the commands ip and iptables, and either root or a kernel
// that lets users have namespaces.
package lan
