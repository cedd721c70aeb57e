"""The part of etcd's v3 protocol that gemel speaks, as a table, and message classes made from it.

Field numbers are those of etcd's ``rpc.proto``, ``kv.proto`` and ``auth.proto`` (unchanged from 3.0 to 3.6).
Enums are written as int32, which is the same on the wire. Fields that gemel never uses are left out: proto3
skips unknown fields.
"""

from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "etcdserverpb"

# message: "field:type=number"; a type in capitals is another message, "*" repeats, "|" belongs to the oneof.
_MESSAGES = {
    "ResponseHeader": "cluster_id:uint64=1 member_id:uint64=2 revision:int64=3 raft_term:uint64=4",
    "KeyValue": "key:bytes=1 create_revision:int64=2 mod_revision:int64=3 version:int64=4 value:bytes=5 lease:int64=6",
    "Event": "type:int32=1 kv:KeyValue=2",
    "RangeRequest": "key:bytes=1 range_end:bytes=2 limit:int64=3 revision:int64=4 serializable:bool=7 keys_only:bool=8",
    "RangeResponse": "header:ResponseHeader=1 kvs:KeyValue*=2 more:bool=3 count:int64=4",
    "PutRequest": "key:bytes=1 value:bytes=2 lease:int64=3",
    "DeleteRangeRequest": "key:bytes=1 range_end:bytes=2",
    "RequestOp": "request_range:RangeRequest=1| request_put:PutRequest=2| request_delete_range:DeleteRangeRequest=3|",
    "Compare": "result:int32=1 target:int32=2 key:bytes=3 version:int64=4| create_revision:int64=5| "
    "mod_revision:int64=6| value:bytes=7| lease:int64=8|",
    "TxnRequest": "compare:Compare*=1 success:RequestOp*=2 failure:RequestOp*=3",
    "TxnResponse": "header:ResponseHeader=1 succeeded:bool=2",
    "CompactionRequest": "revision:int64=1 physical:bool=2",
    "CompactionResponse": "header:ResponseHeader=1",
    "WatchCreateRequest": "key:bytes=1 range_end:bytes=2 start_revision:int64=3 progress_notify:bool=4 fragment:bool=8",
    "WatchProgressRequest": "",
    "WatchRequest": "create_request:WatchCreateRequest=1| progress_request:WatchProgressRequest=3|",
    "WatchResponse": "header:ResponseHeader=1 watch_id:int64=2 created:bool=3 canceled:bool=4 "
    "compact_revision:int64=5 cancel_reason:string=6 fragment:bool=7 events:Event*=11",
    "LeaseGrantRequest": "TTL:int64=1 ID:int64=2",
    "LeaseGrantResponse": "header:ResponseHeader=1 ID:int64=2 TTL:int64=3 error:string=4",
    "LeaseRevokeRequest": "ID:int64=1",
    "LeaseRevokeResponse": "header:ResponseHeader=1",
    "LeaseKeepAliveRequest": "ID:int64=1",
    "LeaseKeepAliveResponse": "header:ResponseHeader=1 ID:int64=2 TTL:int64=3",
    "StatusRequest": "",
    "StatusResponse": "header:ResponseHeader=1 version:string=2 dbSize:int64=3 leader:uint64=4 "
    "raftIndex:uint64=5 raftTerm:uint64=6",
    "Permission": "permType:int32=1 key:bytes=2 range_end:bytes=3",
    "UserAddOptions": "no_password:bool=1",
    "AuthEnableRequest": "",
    "AuthEnableResponse": "header:ResponseHeader=1",
    "AuthUserAddRequest": "name:string=1 password:string=2 options:UserAddOptions=3",
    "AuthUserAddResponse": "header:ResponseHeader=1",
    "AuthUserListRequest": "",
    "AuthUserListResponse": "header:ResponseHeader=1 users:string*=2",
    "AuthUserGetRequest": "name:string=1",
    "AuthUserGetResponse": "header:ResponseHeader=1 roles:string*=2",
    "AuthUserGrantRoleRequest": "user:string=1 role:string=2",
    "AuthUserGrantRoleResponse": "header:ResponseHeader=1",
    "AuthRoleAddRequest": "name:string=1",
    "AuthRoleAddResponse": "header:ResponseHeader=1",
    "AuthRoleListRequest": "",
    "AuthRoleListResponse": "header:ResponseHeader=1 roles:string*=2",
    "AuthRoleGetRequest": "role:string=1",
    "AuthRoleGetResponse": "header:ResponseHeader=1 perm:Permission*=2",
    "AuthRoleGrantPermissionRequest": "name:string=1 perm:Permission=2",
    "AuthRoleGrantPermissionResponse": "header:ResponseHeader=1",
    "AuthRoleRevokePermissionRequest": "role:string=1 key:bytes=2 range_end:bytes=3",
    "AuthRoleRevokePermissionResponse": "header:ResponseHeader=1",
}

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bytes": _Field.TYPE_BYTES,
    "string": _Field.TYPE_STRING,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "uint64": _Field.TYPE_UINT64,
    "bool": _Field.TYPE_BOOL,
}


def _describe() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="gemel/etcd.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields.split():
            _add_field(message, field)
    return file


def _add_field(message: Any, text: str) -> None:
    name, rest = text.split(":")
    kind, number = rest.rstrip("|").split("=")
    field = message.field.add(name=name, number=int(number))
    field.label = _Field.LABEL_REPEATED if kind.endswith("*") else _Field.LABEL_OPTIONAL
    kind = kind.rstrip("*")
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    if text.endswith("|"):
        if not message.oneof_decl:
            message.oneof_decl.add(name="one")
        field.oneof_index = 0


# A pool of its own: another library in the process may have registered etcd's real files.
_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_describe())


def message(name: str, /, **fields: Any) -> Any:
    """A message of the table, filled."""
    return message_class(name)(**fields)


def message_class(name: str) -> Any:
    return _CLASSES[name]


_CLASSES = {
    name: message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES
}


@dataclass(frozen=True, slots=True)
class Method:
    """A remote procedure: its path and what it takes and gives."""

    service: str
    name: str
    request: str
    response: str

    @property
    def path(self) -> str:
        return f"/{_PACKAGE}.{self.service}/{self.name}"


def _auth(name: str) -> Method:
    return Method("Auth", name, f"Auth{name}Request", f"Auth{name}Response")


RANGE = Method("KV", "Range", "RangeRequest", "RangeResponse")
TXN = Method("KV", "Txn", "TxnRequest", "TxnResponse")
COMPACT = Method("KV", "Compact", "CompactionRequest", "CompactionResponse")
WATCH = Method("Watch", "Watch", "WatchRequest", "WatchResponse")
GRANT = Method("Lease", "LeaseGrant", "LeaseGrantRequest", "LeaseGrantResponse")
REVOKE = Method("Lease", "LeaseRevoke", "LeaseRevokeRequest", "LeaseRevokeResponse")
KEEP_ALIVE = Method("Lease", "LeaseKeepAlive", "LeaseKeepAliveRequest", "LeaseKeepAliveResponse")
STATUS = Method("Maintenance", "Status", "StatusRequest", "StatusResponse")
AUTH_ENABLE = Method("Auth", "AuthEnable", "AuthEnableRequest", "AuthEnableResponse")
USER_ADD = _auth("UserAdd")
USER_LIST = _auth("UserList")
USER_GET = _auth("UserGet")
USER_GRANT = _auth("UserGrantRole")
ROLE_ADD = _auth("RoleAdd")
ROLE_LIST = _auth("RoleList")
ROLE_GET = _auth("RoleGet")
ROLE_GRANT = _auth("RoleGrantPermission")
ROLE_REVOKE = _auth("RoleRevokePermission")
