// Package policy decides who may call what.
//
// It guarantees that everything is denied which no rule allows, methods that
// it does not know included, and that each decision says its ground for the
// log. The caller must pass what the kernel says about who calls, never what
// the caller says, and must ask again before a PIN is used and before a
// signature is released.
//
// For now there is one built-in rule: members of one group sign and list the
// records of their own uid; root is administrator, helpdesk and auditor, and
// does not sign unless it is in that group; with a virtual card the uid that
// started the service has every role.
package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Role is what somebody is to the service.
type Role uint8

// The roles.
const (
	RoleAnyone        Role = 1 // any local user
	RoleSigner        Role = 2 // signs with cards, lists the records of the own uid
	RoleHelpdesk      Role = 3
	RoleAdministrator Role = 4
	RoleAuditor       Role = 5 // lists all records
)

// String returns the role as a word, for example "signer".
func (r Role) String() string {
	switch r {
	case RoleAnyone:
		return "anyone"
	case RoleSigner:
		return "signer"
	case RoleHelpdesk:
		return "helpdesk"
	case RoleAdministrator:
		return "administrator"
	case RoleAuditor:
		return "auditor"
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// japanese returns the role as a word for people.
func (r Role) japanese() string {
	switch r {
	case RoleAnyone:
		return "一般ユーザ"
	case RoleSigner:
		return "署名者"
	case RoleHelpdesk:
		return "ヘルプデスク"
	case RoleAdministrator:
		return "管理者"
	case RoleAuditor:
		return "監査人"
	}
	return fmt.Sprintf("役割%d", uint8(r))
}

// RoleSet is a set of roles. The zero value is empty.
type RoleSet uint8

func setOf(roles ...Role) RoleSet {
	var s RoleSet
	for _, r := range roles {
		s |= 1 << r
	}
	return s
}

// Has reports whether r is in the set.
func (s RoleSet) Has(r Role) bool { return s&setOf(r) != 0 }

// String lists the roles, for example "signer, auditor"; "none" if empty.
func (s RoleSet) String() string {
	var words []string
	for r := RoleAnyone; r <= RoleAuditor; r++ {
		if s.Has(r) {
			words = append(words, r.String())
		}
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

// Subject is who calls, as the kernel says.
type Subject struct {
	UID    uint32
	Groups []uint32 // primary and supplementary
}

// japanese lists the roles, for people.
func (s RoleSet) japanese() string {
	var words []string
	for r := RoleAnyone; r <= RoleAuditor; r++ {
		if s.Has(r) {
			words = append(words, r.japanese())
		}
	}
	if len(words) == 0 {
		return "なし"
	}
	return strings.Join(words, "・")
}

// Decision is the answer to one call.
type Decision struct {
	Allowed  bool
	Unknown  bool   // denied because no rule knows the method
	Ground   string // why, in one line, for the log and for ErrorInfo
	GroundJA string // why a known method is denied, in Japanese, for people
}

// Config is what the built-in rule needs to know about this machine.
type Config struct {
	// SignerGID is the group whose members sign; nil if there is no such
	// group: then nobody is a signer by group.
	SignerGID *uint32
	// VirtualUID is the uid that has every role, set only when the service
	// runs with the embedded virtual card; nil otherwise.
	VirtualUID *uint32
}

// Policy is the rules in force. It does not change and may be used by many
// goroutines.
type Policy struct {
	config  Config
	methods map[string]RoleSet // by full gRPC method name
}

// New returns the built-in policy for this machine.
func New(config Config) *Policy {
	return &Policy{config: config, methods: methods()}
}

// methods says who may call each method (docs/architecture.md section 6). A
// method that is not here is denied to everybody.
func methods() map[string]RoleSet {
	anyone, signer := setOf(RoleAnyone), setOf(RoleSigner)
	return map[string]RoleSet{
		"/grpc.health.v1.Health/Check": anyone,
		"/grpc.health.v1.Health/Watch": anyone,

		// What a caller sees in a status depends on the roles again.
		"/inkan.v1.StatusService/GetVersion":  anyone,
		"/inkan.v1.StatusService/GetStatus":   anyone,
		"/inkan.v1.StatusService/WatchStatus": anyone,
		"/inkan.v1.StatusService/Diagnose":    anyone,

		"/inkan.v1.SigningService/ListKeys":       signer,
		"/inkan.v1.SigningService/GetCertificate": signer,
		"/inkan.v1.SigningService/Sign":           signer,
		"/inkan.v1.SigningService/SignBatch":      signer,

		"/inkan.v1.CardService/VerifyPin": signer,
		"/inkan.v1.CardService/ChangePin": signer,
		"/inkan.v1.CardService/Unlock":    signer,
		// A signer confirms in the trusted prompt, an administrator gives a
		// reason: the handler tells them apart.
		"/inkan.v1.CardService/Acknowledge": setOf(RoleSigner, RoleAdministrator),
		"/inkan.v1.CardService/StopHere":    setOf(RoleSigner, RoleHelpdesk, RoleAdministrator),

		"/inkan.v1.RegisterService/ListCards": setOf(RoleSigner, RoleHelpdesk, RoleAdministrator),
		"/inkan.v1.RegisterService/Lift":      setOf(RoleAdministrator),

		// Who is not an auditor sees the records of the own uid alone.
		"/inkan.v1.AuditService/List": setOf(RoleSigner, RoleAuditor),

		"/inkan.v1.AdminService/SupportBundle": setOf(RoleAdministrator),
	}
}

// Methods returns the names of the methods that somebody may call, sorted.
func (p *Policy) Methods() []string {
	names := make([]string, 0, len(p.methods))
	for name := range p.methods {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Roles returns the roles that s has.
func (p *Policy) Roles(s Subject) RoleSet {
	set := setOf(RoleAnyone)
	for _, g := range p.grants(s) {
		set |= g.roles
	}
	return set
}

// grant is roles and the reason for having them.
type grant struct {
	roles  RoleSet
	reason string
}

// grants returns what s has besides being anyone, and why.
func (p *Policy) grants(s Subject) []grant {
	var all []grant
	if gid := p.config.SignerGID; gid != nil && slices.Contains(s.Groups, *gid) {
		all = append(all, grant{setOf(RoleSigner), fmt.Sprintf("uid %d is in group inkan (gid %d)", s.UID, *gid)})
	}
	if s.UID == 0 {
		all = append(all, grant{setOf(RoleHelpdesk, RoleAdministrator, RoleAuditor), "uid 0 is root"})
	}
	if uid := p.config.VirtualUID; uid != nil && s.UID == *uid {
		all = append(all, grant{
			setOf(RoleSigner, RoleHelpdesk, RoleAdministrator, RoleAuditor),
			fmt.Sprintf("uid %d started the service with --virtual", s.UID),
		})
	}
	return all
}

// Decide says whether s may call the method, given by its full name, for
// example "/inkan.v1.SigningService/Sign".
func (p *Policy) Decide(method string, s Subject) Decision {
	may, known := p.methods[method]
	if !known {
		return Decision{Unknown: true, Ground: fmt.Sprintf("method %s is not in the policy", quote(method))}
	}
	if may.Has(RoleAnyone) {
		return Decision{Allowed: true, Ground: fmt.Sprintf("uid %d is a local user: anyone", s.UID)}
	}
	for _, g := range p.grants(s) {
		if fits := g.roles & may; fits != 0 {
			return Decision{Allowed: true, Ground: g.reason + ": " + fits.String()}
		}
	}
	return Decision{
		Ground:   fmt.Sprintf("uid %d has the roles %s, this needs one of: %s", s.UID, p.Roles(s), may),
		GroundJA: fmt.Sprintf("uid %d の役割は%s、必要な役割は%sのいずれか", s.UID, p.Roles(s).japanese(), may.japanese()),
	}
}

// quote makes a method name that the caller chose fit for a log line.
func quote(method string) string {
	const most = 100
	if len(method) > most {
		return fmt.Sprintf("%q…", method[:most])
	}
	return fmt.Sprintf("%q", method)
}
