//! Numbers of built-in types in pg_type.

use pgrx::pg_sys;

pub const BOOL: u32 = pg_sys::BOOLOID.to_u32();
pub const BPCHAR: u32 = pg_sys::BPCHAROID.to_u32();
pub const BYTEA: u32 = pg_sys::BYTEAOID.to_u32();
pub const CHAR: u32 = pg_sys::CHAROID.to_u32();
pub const CIDR: u32 = pg_sys::CIDROID.to_u32();
pub const CSTRING: u32 = pg_sys::CSTRINGOID.to_u32();
pub const DATE: u32 = pg_sys::DATEOID.to_u32();
pub const INT2: u32 = pg_sys::INT2OID.to_u32();
pub const INT4: u32 = pg_sys::INT4OID.to_u32();
pub const INT8: u32 = pg_sys::INT8OID.to_u32();
pub const INTERVAL: u32 = pg_sys::INTERVALOID.to_u32();
pub const NAME: u32 = pg_sys::NAMEOID.to_u32();
pub const NUMERIC: u32 = pg_sys::NUMERICOID.to_u32();
pub const OID: u32 = pg_sys::OIDOID.to_u32();
pub const TEXT: u32 = pg_sys::TEXTOID.to_u32();
pub const TIME: u32 = pg_sys::TIMEOID.to_u32();
pub const TIMESTAMP: u32 = pg_sys::TIMESTAMPOID.to_u32();
pub const TIMESTAMPTZ: u32 = pg_sys::TIMESTAMPTZOID.to_u32();
pub const UUID: u32 = pg_sys::UUIDOID.to_u32();
pub const VARCHAR: u32 = pg_sys::VARCHAROID.to_u32();
pub const XID8: u32 = pg_sys::XID8OID.to_u32();
