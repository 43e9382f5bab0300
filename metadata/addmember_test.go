package metadata

import (
	"testing"
	"testing/synctest"
	"time"

	"partstore/internal/layout"
)

// A leader that was cut off in the middle of adding a member does not take it
// for one: the next leader need not know of it.
func TestAMemberIsOneOnceThatIsCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, 1)
		w.form(3)
		w.within(time.Minute, "a leader", func() bool { return len(w.leaders()) == 1 })
		lead := w.leaders()[0]
		var all []link
		for _, p := range w.running() {
			all = append(all, link{lead.node.id, p.node.id}, link{p.node.id, lead.node.id})
		}
		heal := w.net.block(all...)
		fresh := server{layout.NewNodeID(), 1}
		adding := make(chan error)
		go func() { adding <- lead.AddMember(t.Context(), fresh.node, fresh.generation) }()
		w.within(time.Second, "an entry that adds the member", func() bool { return len(lead.servers()) == 4 })
		if err := lead.addServer(t.Context(), fresh, wishList{}); refusedMembers(err) != statusNotLeader {
			t.Errorf("add the member again = %v, want that it does not lead", err)
		}
		heal()
		if err := <-adding; err != nil {
			t.Errorf("add the member, across two leaders = %v", err)
		}
		for _, p := range w.running() {
			w.within(time.Minute, "four members", func() bool { return len(p.servers()) == 4 })
		}
		w.close()
	})
}
