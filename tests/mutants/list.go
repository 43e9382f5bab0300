package main

var mutants = []mutant{
	{
		name: "a new leader skips its fence", file: "leader.go",
		old:   "if err := r.proposePack(pack{}); err != nil || r.raft.CurrentTerm() != term {",
		new:   "if r.raft.CurrentTerm() != term {",
		tests: "TestALeaderBeforeItsFenceAnswersNothing",
	}, {
		name: "the read index is not confirmed", file: "readindex.go",
		old:   "	return index, r.confirmTerm(ctx, term, voters, need)",
		new:   "	_, _ = term, need\n	return index, nil",
		tests: "TestDeposedLeaderDoesNotAnswerFromOldRows|" + virtual,
	}, {
		name: "non-voters confirm too", file: "readindex.go",
		old:   "	need := (len(voters) + 1) / 2 // with ourselves, a majority",
		new:   "	need := (len(voters) + 1) / 2\n	for _, s := range r.servers() {\n		if s.Suffrage != raft.Voter {\n			voters = append(voters, serverOf(s.ID))\n		}\n	}",
		tests: "TestPitfallNonVotersConfirmNothing",
	}, {
		name: "a term answer of another term confirms", file: "readindex.go",
		old:   "answers <- err == nil && a.term == term",
		new:   "answers <- err == nil && (a.term == term || a.term > 0)",
		tests: "TestDeposedLeaderDoesNotAnswerFromOldRows",
	}, {
		name: "a read does not wait for its index", file: "readindex.go",
		old:   "if err := r.fsm.applied.wait(ctx, index); err != nil {",
		new:   "if err := r.fsm.applied.wait(ctx, 0*index); err != nil {",
		tests: "TestEveryNodeAnswersWhatAnyNodeWrote|" + virtual,
	}, {
		name: "a caller joins the round under way", file: "rounds.go",
		old:   "		now := r.next\n		r.next = nil\n		r.mu.Unlock()\n		if now != nil {\n			now.answer, now.err = r.ask(r.ctx)\n",
		new:   "		now := r.next\n		r.mu.Unlock()\n		if now != nil {\n			now.answer, now.err = r.ask(r.ctx)\n			r.mu.Lock()\n			r.next = nil\n			r.mu.Unlock()\n",
		tests: "TestRoundsAnswerOnlyWhatWasAskedLater",
	}, {
		name: "a local negative look-up is trusted", file: "query.go",
		old:   "	if err == nil {\n		return u, nil\n	}\n	return r.Upload(ctx, ref)",
		new:   "	if err == nil || errors.Is(err, ErrUploadNotFound) || errors.Is(err, ErrBucketNotFound) {\n		return u, err\n	}\n	return r.Upload(ctx, ref)",
		tests: "TestCutOffNodeKnowsNothing|" + virtual,
	}, {
		name: "commands of an earlier term are taken", file: "call.go",
		old:   "if term, ok := r.leads(); !ok || q.term != term {",
		new:   "if term, ok := r.leads(); !ok || q.term > term {",
		tests: "TestCommandsOfAnotherTermAreRefused",
	}, {
		name: "the vote is not synced", file: "sector.go",
		old:   "	if !sync {\n		return nil\n	}\n	if err := s.f.SyncData()",
		new:   "	if sync || !sync {\n		return nil\n	}\n	if err := s.f.SyncData()",
		tests: virtual,
	}, {
		name: "a superseded attempt is forgotten", file: "apply_upload.go",
		old:   "if superseded, err := m.has(attemptKey(x.Part.Layout.Attempt)); superseded || err != nil {",
		new:   "if superseded, err := m.has(attemptKey(x.Part.Layout.Attempt)); superseded && false || err != nil {",
		tests: "TestSupersededAttemptIsNotReinstated|TestStateMachineFollowsTheModel",
	}, {
		name: "a part is widened though it is another by now", file: "widen.go",
		old:   "	if !found || p.Layout.Attempt != x.Attempt {",
		new:   "	if !found {",
		tests: "TestWhatIsNoWideningIsRefused|TestStateMachineFollowsTheModel",
	}, {
		name: "how an upload ended is forgotten", file: "apply_upload.go",
		old:   "		m.putFor(AttemptLifetime, doneKey(u.ID), done.code),\n",
		new:   "",
		tests: "TestCompleteMakesTheObject|TestStateMachineFollowsTheModel",
	}, {
		name: "a refusal is forgotten", file: "machine.go",
		old:   "	return r, m.putFor(AttemptLifetime, key, r.encode)",
		new:   "	return r, nil",
		tests: "TestARefusalIsFinal|TestStateMachineFollowsTheModel",
	}, {
		name: "the rows do not say how far they are", file: "machine.go",
		old:   "	m.meta.index, m.meta.term = index, term\n	if err := m.put(metaKey(), m.meta.code); err != nil {\n		return err\n	}\n",
		new:   "	if err := m.put(metaKey(), m.meta.code); err != nil {\n		return err\n	}\n	m.meta.index, m.meta.term = index, term\n",
		tests: "TestRestartKeepsEverything|" + virtual,
	}, {
		name: "an old incarnation may commit", file: "fence.go",
		old:   "return m.live[a.Incarnation()] && began",
		new:   "return began",
		tests: "TestAttemptsAreFenced",
	}, {
		name: "an attempt never gets too old", file: "fence.go",
		old:   "began <= m.meta.time && m.meta.time-began <= AttemptLifetime",
		new:   "began <= m.meta.time",
		tests: "TestAttemptsAreFenced",
	}, {
		name: "a snapshot without what is in memory", file: "checkpoint.go",
		old:   "	flushed, err := g.db.AsyncFlush()\n	if err != nil {\n		return err\n	}\n",
		new:   "	flushed, err := make(chan struct{}), error(nil)\n	close(flushed)\n",
		tests: virtual,
	}, {
		name: "an ended pipeline blocks its sender", file: "pipeline.go",
		old:   "			if !f.Response().Success { // nor is it after an error\n				_ = p.Close()\n				return\n			}\n",
		new:   "",
		tests: "TestAnEndedPipelineBlocksNobody",
	}, {
		name: "a voter knows too early that it loses its vote", file: "transport.go",
		old:   "	for t.committed() < index {",
		new:   "	for false && t.committed() < index {",
		tests: "TestAVoteThatIsBeingTakenElectsTheNextLeader",
	}, {
		name: "a voter elects only whom it knows", file: "heartbeat.go",
		old:   "	t.hideCandidate(rpc.Command)\n",
		new:   "",
		tests: "TestAVoterThatWasAwayElectsWhomItDoesNotKnow",
	}, {
		name: "a heartbeat changes the term", file: "heartbeat.go",
		old:   "		if ok && t.votes.inTerm(beat.Term, func() { answer(rpc) }) {",
		new:   "		if answer(rpc); ok && beat != nil {",
		tests: "TestAHeartbeatsTermIsNotTakenBack",
	}, {
		name: "entries of a later term are stored", file: "heartbeat.go",
		old:   "	return n > 0 && a.Entries[n-1].Term > a.Term",
		new:   "	return n < 0 && a.Entries[n-1].Term > a.Term",
		tests: "TestEntriesOfALaterTermAreNotStored",
	}, {
		name: "an entry being removed is damaged", file: "logstore.go",
		old:   "		c.turn.take()\n		defer c.turn.giveUp()\n		if !c.has(index) {",
		new:   "		if !c.has(index) {",
		tests: "TestAnEntryBeingRemovedIsNotDamaged",
	}, {
		name: "a clock that goes back wraps around", file: "leader.go",
		old:   "layout.RegistryTime(max(0, r.cfg.elapsed()-r.lead.since).Milliseconds())",
		new:   "layout.RegistryTime((r.cfg.elapsed() - r.lead.since).Milliseconds())",
		tests: "TestAClockThatGoesBackStopsRegistryTime",
	}, {
		name: "parts go with the first of their names", file: "apply_copy.go",
		old:   "	case 0:\n		return m.discardUpload(id)\n	case 1:",
		new:   "	case 0, 1:\n		return errors.Join(m.discardUpload(id), m.delete(namesKey(id)))\n	case ^uint64(0):",
		tests: "TestPartsGoWithTheLastName|TestStateMachineFollowsTheModel",
	}, {
		name: "a copy of what is there by now", file: "apply_object.go",
		old:   "	return o, now == v, err",
		new:   "	_ = now\n	return o, true, err",
		tests: "TestCopyIsOfWhatWasRead|TestStateMachineFollowsTheModel",
	}, {
		name: "a part that an object names is freed", file: "apply_garbage.go",
		old:   "		if g.Kept.Has(p.Number) {",
		new:   "		if false && g.Kept.Has(p.Number) {",
		tests: "TestNonsensicalFreeingIsRefusedWhole",
	}, {
		name: "what an object left is garbage twice", file: "apply_upload.go",
		old:   "errors.Join(m.forgetRest(id), m.put(",
		new:   "errors.Join(m.put(",
		tests: "TestWhatAnObjectLeftIsQueuedOnce|TestStateMachineFollowsTheModel",
	}, {
		name: "a slot settles only if no other of its group moved since", file: "slots.go",
		old:   "	case move.Epoch != x.Epoch:",
		new:   "	case move.Epoch != x.Epoch || g.Epoch != x.Epoch:",
		tests: "TestStateMachineFollowsTheModel",
	},
}
