package qingstor

import (
	"context"
)

// Bounds of an ACL.
const (
	maxGrants    = 100
	maxGrantName = 255
)

const allUsers = "QS_ALL_USERS"

type acl struct {
	Grants []aclGrant `json:"acl"`
}

type aclGrant struct {
	Grantee    grantee `json:"grantee"`
	Permission string  `json:"permission"`
}

type grantee struct {
	Type string `json:"type"`
	ID   string `json:"id,omitempty"`
	Name string `json:"name"`
}

// gives reports whether the list gives the user, or everybody, what an
// operation needs.
func (l acl) gives(user string, need access) bool {
	for _, g := range l.Grants {
		his := g.Grantee.Type == "group" || user != "" && g.Grantee.ID == user
		enough := g.Permission == "FULL_CONTROL" ||
			need == reader && g.Permission == "READ" || need == writer && g.Permission == "WRITE"
		if his && enough {
			return true
		}
	}
	return false
}

func checkACL(_ *call, text []byte) (any, error) {
	l, err := readBody[acl](text)
	if err != nil {
		return nil, err
	}
	if len(l.Grants) > maxGrants {
		return nil, refuse(errInvalidRequest, "An ACL has at most %d entries", maxGrants)
	}
	for i := range l.Grants {
		if err := l.Grants[i].check(); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// check judges one entry and fills in the name that clients want of each.
func (g *aclGrant) check() error {
	switch g.Permission {
	case "READ", "WRITE", "FULL_CONTROL":
	default:
		return refuse(errInvalidRequest, "A permission is READ, WRITE or FULL_CONTROL")
	}
	who := &g.Grantee
	switch {
	case len(who.ID) > maxGrantName || len(who.Name) > maxGrantName:
		return refuse(errInvalidRequest, "The ID or name of a grantee is longer than %d bytes", maxGrantName)
	case who.Type == "group" && who.Name == allUsers:
		who.ID = ""
	case who.Type == "user" && who.ID != "":
		if who.Name == "" {
			who.Name = who.ID
		}
	default:
		return refuse(errInvalidRequest, "A grantee is a user with an id, or the group %s", allUsers)
	}
	return nil
}

type aclAnswer struct {
	Owner  listOwner  `json:"owner"`
	Grants []aclGrant `json:"acl"`
}

// showACL answers with what was set, or what holds if nothing was.
func showACL(_ context.Context, c *call, document []byte) (any, error) {
	who := c.bucket.Owner
	answer := aclAnswer{Owner: listOwner{ID: who, Name: who}, Grants: []aclGrant{}}
	if len(document) == 0 {
		answer.Grants = append(answer.Grants, aclGrant{grantee{"user", who, who}, "FULL_CONTROL"})
		return answer, nil
	}
	l, err := readStored[acl](document)
	answer.Grants = append(answer.Grants, l.Grants...)
	return answer, err
}
