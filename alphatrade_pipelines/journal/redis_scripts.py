"""What a Redis server does for the journal in one step each, as Lua scripts: nothing can come in between.

``acquire``: KEYS lease, fence, meta; ARGV owner, lease (ms), an owner known to be dead, format. Answers {1, token, 0} or {0, holder, ms}.
``append``: KEYS fence, rows, lease, meta; ARGV token, owner, lease (ms), number and hash of the row before, then the rows. Errors FENCED:
another writer took over; REGRESSED: the server lost rows. Rows that are there already, by their hash, are not pushed again.
``set_aside``: KEYS fence, rows, where to, meta; ARGV token, owner, number of rows to keep. ``release``: KEYS lease; ARGV owner.
"""

from __future__ import annotations

_ACQUIRE = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[3] then return {0, holder, redis.call('PTTL', KEYS[1])} end
redis.call('HSETNX', KEYS[3], 'format', ARGV[4])
redis.call('HSET', KEYS[3], 'writer', ARGV[1])
local token = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {1, tostring(token), 0}
"""
_GUARD = """
local fence = tonumber(redis.call('GET', KEYS[1]) or '0')
if fence > tonumber(ARGV[1]) then return redis.error_reply('FENCED ' .. fence) end
if fence < tonumber(ARGV[1]) then return redis.error_reply('REGRESSED the token is ' .. fence) end
if redis.call('HGET', KEYS[#KEYS], 'writer') ~= ARGV[2] then return redis.error_reply('FENCED under the same token') end
"""
_APPEND = (
    _GUARD
    + """
local rows = redis.call('LLEN', KEYS[2])
local there = rows - tonumber(ARGV[4])
local offered = #ARGV - 5
if there < 0 then return redis.error_reply('REGRESSED it has ' .. rows .. ' rows') end
if there > offered then return redis.error_reply('FENCED by rows that another writer pushed') end
if rows > 0 then
  local last = string.sub(redis.call('LINDEX', KEYS[2], -1), 1, 64)
  local expected = ARGV[5]
  if there > 0 then expected = string.sub(ARGV[5 + there], 1, 64) end
  if last ~= expected then return redis.error_reply('REGRESSED row ' .. rows .. ' is another one') end
end
for i = 6 + there, #ARGV do redis.call('RPUSH', KEYS[2], ARGV[i]) end
redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3])
return redis.call('LLEN', KEYS[2])
"""
)
_SET_ASIDE = (
    _GUARD
    + """
local keep = tonumber(ARGV[3])
for _, row in ipairs(redis.call('LRANGE', KEYS[2], keep, -1)) do redis.call('RPUSH', KEYS[3], row) end
if keep == 0 then redis.call('DEL', KEYS[2]) else redis.call('LTRIM', KEYS[2], 0, keep - 1) end
return redis.call('LLEN', KEYS[3])
"""
)
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"

SCRIPTS = {"acquire": _ACQUIRE, "append": _APPEND, "set_aside": _SET_ASIDE, "release": _RELEASE}
