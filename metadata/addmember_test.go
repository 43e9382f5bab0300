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

// A change of the members that is being decided on is made before another begins.
func TestServersAreChangedOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, 1)
		w.form(3)
		w.within(time.Minute, "a leader", func() bool { return len(w.leaders()) == 1 })
		lead := w.leaders()[0]
		done, err := lead.changeServers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		adding := make(chan error, 1)
		go func() { adding <- lead.AddMember(t.Context(), layout.NewNodeID(), 1) }()
		time.Sleep(lead.cfg.Timeout / 2)
		if n := len(lead.servers()); n != 3 {
			t.Errorf("%d servers while somebody else has the turn, want 3", n)
		}
		done()
		if err := <-adding; err != nil || len(lead.servers()) != 4 {
			t.Errorf("add a member = %v; %d servers, want 4", err, len(lead.servers()))
		}
		w.close()
	})
}
