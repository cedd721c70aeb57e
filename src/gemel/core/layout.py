"""Where things stand in the region store. One function a kind of key; nobody spells a key by hand.

/gemel/v1/resources/<Kind>/<name>       desired state; written by the API only
/gemel/v1/requests/<verb>/<name>        one-shot wishes (move, migrate, stop); written by the API,
                                        deleted by the controller that took them up
/gemel/v1/leases/<host>                 HostLease, on the host's lease: its life is the proof
/gemel/v1/elections/<what>              who leads: the controllers, a site's steward
/gemel/v1/tickets/<application>         Ticket; written by the leader only
/gemel/v1/assignments/<guest>           Assignment; written by the leader only
/gemel/v1/reports/<host>/<guest>        GuestReport; written by the host's agent
/gemel/v1/volumes/<volume>              VolumeRecord; by stewards
/gemel/v1/cuts/<application>            Cut; by the steward of the ticket's site
/gemel/v1/frozen/<application>/<host>   FreezeAnswer; by agents
/gemel/v1/replicas/<volume>             ReplicaRecord; by the steward of the other site
/gemel/v1/backlog/<volume>              Backlog; by the steward of the ticket's site
/gemel/v1/quarantine/<site>/<name>      QuarantineRecord; by agents (guests) and stewards (volumes)
/gemel/v1/status/<Kind>/<name>          observed summary of a resource; by controllers and agents
/gemel/v1/events/<sortable id>          what happened, on a lease of an hour
/gemel/v1/audit/<sortable id>           who changed what
"""

ROOT = "/gemel/v1/"
RESOURCES = ROOT + "resources/"
REQUESTS = ROOT + "requests/"
LEASES = ROOT + "leases/"
ELECTIONS = ROOT + "elections/"
TICKETS = ROOT + "tickets/"
ASSIGNMENTS = ROOT + "assignments/"
REPORTS = ROOT + "reports/"
VOLUMES = ROOT + "volumes/"
CUTS = ROOT + "cuts/"
FROZEN = ROOT + "frozen/"
REPLICAS = ROOT + "replicas/"
BACKLOG = ROOT + "backlog/"
QUARANTINE = ROOT + "quarantine/"
STATUS = ROOT + "status/"
EVENTS = ROOT + "events/"
AUDIT = ROOT + "audit/"

CONTROLLERS = ELECTIONS + "controllers"


def resource(kind: str, name: str) -> str:
    return f"{RESOURCES}{kind}/{name}"


def request(verb: str, name: str) -> str:
    return f"{REQUESTS}{verb}/{name}"


def lease(host: str) -> str:
    return LEASES + host


def steward(site: str) -> str:
    return f"{ELECTIONS}steward-{site}"


def ticket(application: str) -> str:
    return TICKETS + application


def assignment(guest: str) -> str:
    return ASSIGNMENTS + guest


def report(host: str, guest: str) -> str:
    return f"{REPORTS}{host}/{guest}"


def volume(name: str) -> str:
    return VOLUMES + name


def cut(application: str) -> str:
    return CUTS + application


def frozen(application: str, host: str) -> str:
    return f"{FROZEN}{application}/{host}"


def replica(volume: str) -> str:
    return REPLICAS + volume


def backlog(volume: str) -> str:
    return BACKLOG + volume


def quarantine(site: str, name: str) -> str:
    return f"{QUARANTINE}{site}/{name}"


def status(kind: str, name: str) -> str:
    return f"{STATUS}{kind}/{name}"


def event(sortable: str) -> str:
    return EVENTS + sortable


def audit(sortable: str) -> str:
    return AUDIT + sortable


def leaf(key: str) -> str:
    """The last segment of a key: its object's name."""
    return key.rsplit("/", 1)[1]
