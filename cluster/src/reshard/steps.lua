-- The steps of a move of slots, as they are carried out in the data of one of the two shards.
--
-- KEYS: epoch, sequence number, slots, move. ARGV: epoch, number of the move, name of the step, its arguments.
-- Every step decides before its first write, and may be repeated.
local FIRST = 4

if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return redis.error_reply('FENCED the data is of another epoch')
end
local last, move = tonumber(redis.call('GET', KEYS[4]) or '0'), tonumber(ARGV[2])
local owned = redis.call('GET', KEYS[3]) or ''

local function state(slot)
  return string.sub(owned, slot + 1, slot + 1)
end

local function slot_of(key)
  return math.floor(tonumber(string.sub(redis.sha1hex(key), 1, 3), 16) / 4)
end

local function wrong(slot)
  return redis.error_reply("WRONGSTATE slot " .. slot .. " is in state '" .. state(slot) .. "'")
end

-- Turns the slots named in ARGV from one of the states `from` to the state `to`.
local function turn(from, to)
  for i = FIRST, #ARGV do
    local is = state(ARGV[i])
    if is == '' or not string.find(from, is, 1, true) then
      return wrong(ARGV[i])
    end
  end
  redis.call('INCR', KEYS[2])
  redis.call('SET', KEYS[4], ARGV[2])
  for i = FIRST, #ARGV do
    redis.call('SETRANGE', KEYS[3], ARGV[i], to)
  end
  return 0
end

-- These begin a move, or take it up: from then on an older one is refused.
local begins = {}

-- Destination: the slots may be filled. Answers 1 if it owns them already.
function begins.prepare()
  for i = FIRST, #ARGV do
    if state(ARGV[i]) ~= '1' then
      return turn('0i', 'i')
    end
  end
  turn('1', '1')
  return 1
end

-- Source: the slots are not served any more, and do not change any more.
function begins.freeze()
  return turn('1f', 'f')
end

-- Source: nothing but the number of the move.
function begins.claim()
  return turn('f0', '')
end

-- These belong to the move that was begun last.
local goes_on = {}

-- Source: a page of the keys in frozen slots. Arguments: cursor, keys to look at, 1 for their values too.
-- Answers the next cursor, then key, time of expiry (0: never) and value of each.
function goes_on.export()
  local scanned = redis.call('SCAN', ARGV[FIRST], 'COUNT', ARGV[FIRST + 1])
  local page = { scanned[1] }
  for _, key in ipairs(scanned[2]) do
    if state(slot_of(key)) == 'f' and string.sub(key, 1, 13) ~= '__shardstorm:' then
      local value, expires_ms = '', 0
      if ARGV[FIRST + 2] == '1' then
        value, expires_ms = redis.call('DUMP', key), redis.call('PEXPIRETIME', key)
      end
      if value then
        page[#page + 1] = key
        page[#page + 1] = string.format('%.0f', math.max(expires_ms, 0))
        page[#page + 1] = value
      end
    end
  end
  return page
end

-- Destination: puts keys in. Arguments: what export has answered.
function goes_on.import()
  for i = FIRST, #ARGV, 3 do
    local slot = slot_of(ARGV[i])
    if state(slot) ~= 'i' then
      return wrong(slot)
    end
  end
  redis.call('INCR', KEYS[2])
  for i = FIRST, #ARGV, 3 do
    redis.call('RESTORE', ARGV[i], ARGV[i + 1], ARGV[i + 2], 'REPLACE', 'ABSTTL')
  end
  return 0
end

-- Destination: serves the slots.
function goes_on.own()
  return turn('i1', '1')
end

-- Source: deletes keys. Arguments: the keys.
function goes_on.drop()
  for i = FIRST, #ARGV do
    local slot = slot_of(ARGV[i])
    if state(slot) ~= 'f' then
      return wrong(slot)
    end
  end
  redis.call('INCR', KEYS[2])
  for i = FIRST, #ARGV do
    redis.call('UNLINK', ARGV[i])
  end
  return 0
end

-- Source: the slots are another's.
function goes_on.release()
  return turn('f0', '0')
end

local name = ARGV[FIRST - 1]
if last > move or (last ~= move and goes_on[name]) then
  return redis.error_reply('SUPERSEDED by move ' .. last)
end
local step = begins[name] or goes_on[name]
if not step then
  return redis.error_reply('ERR unknown step ' .. tostring(name))
end
return step()
