-- Requests and replies that prove themselves, over links that may change, swap or replay what they carry.
--
-- This file comes before the operations. The agent fills in what stands between at signs and loads the script into
-- its own Redis; nobody else can see the text, and nothing of it is data: it is not replicated. The arithmetic is
-- that of the module `seal`, which says what each authentication code covers.
local SEAL, LINK = @seal@, @link@
local SHARD, NODE = @shard@, @node@
-- Both are this server's own: written without being replicated, and of no meaning in another epoch.
local NONCES, MARKS = '__shardstorm:nonces', '__shardstorm:marks'
local SEALS = '__shardstorm:seal:'

-- A list of texts as one text that no other list gives: each with its length before it.
local function join(parts)
  local framed = {}
  for i = 1, #parts do
    framed[i] = #parts[i] .. ':' .. parts[i]
  end
  return table.concat(framed)
end

local function whole(number)
  return string.format('%.0f', number)
end

-- HMAC-SHA1 (RFC 2104) in hexadecimal. A key is its two pads, each as long as a block.
local function mac(key, text)
  local h = redis.sha1hex(key[1] .. text)
  local function word(at)
    return tonumber(string.sub(h, at, at + 7), 16)
  end
  return redis.sha1hex(key[2] .. struct.pack('>I4I4I4I4I4', word(1), word(9), word(17), word(25), word(33)))
end

-- A code for all data under a key, whatever its kind. Unordered elements are ordered by their hash.
local function content(key)
  local kind = redis.call('TYPE', key).ok
  local parts = {}
  local function unordered(element)
    parts[#parts + 1] = redis.sha1hex(SEAL[1] .. element)
  end
  if kind == 'string' then
    parts[1] = redis.call('GET', key)
  elseif kind == 'list' then
    parts = redis.call('LRANGE', key, 0, -1)
  elseif kind == 'set' then
    for _, element in ipairs(redis.call('SMEMBERS', key)) do
      unordered(element)
    end
    table.sort(parts)
  elseif kind == 'hash' then
    local fields = redis.call('HGETALL', key)
    for i = 1, #fields, 2 do
      unordered(join({ fields[i], fields[i + 1] }))
    end
    table.sort(parts)
  elseif kind ~= 'none' then
    return nil
  end
  return mac(SEAL, join({ 'content', key, kind }) .. join(parts)), kind
end

-- The version of what is under a key, 0 if nothing ever was; or nil and what is wrong with its seal.
local function opened(key, kind, found, sealed)
  if not sealed then
    if kind == 'none' then
      return 0
    end
    return nil, 'it has no seal'
  end
  local body, code = string.sub(sealed, 1, -41), string.sub(sealed, -40)
  if mac(SEAL, join({ 'seal' }) .. body) ~= code then
    return nil, 'its seal is fabricated'
  end
  local parts, at = {}, 1
  while at <= #body do
    local colon = string.find(body, ':', at, true)
    local length = tonumber(string.sub(body, at, colon - 1))
    parts[#parts + 1] = string.sub(body, colon + 1, colon + length)
    at = colon + 1 + length
  end
  if parts[1] ~= key then
    return nil, 'its seal is that of another key'
  end
  if parts[5] ~= found then
    return nil, 'it is not what was sealed'
  end
  return tonumber(parts[2])
end

-- What an operation returned, or the error it raised, as one text.
local function encode(fine, answer)
  if not fine and type(answer) ~= 'table' then
    answer = { err = tostring(answer) }
  end
  if type(answer) == 'string' then
    return '$' .. answer
  elseif type(answer) == 'number' then
    return ':' .. whole(answer)
  elseif type(answer) ~= 'table' then
    return '_'
  elseif answer.err then
    return '-' .. answer.err
  elseif answer.ok then
    return '+' .. answer.ok
  end
  return '*' .. join(answer)
end

-- Takes what proves the request off the end of ARGV. Returns the client and its counter, or nil and a refusal, which
-- proves nothing: what cannot be trusted is not answered with a code.
local function admitted()
  local proof, counter, client = table.remove(ARGV), table.remove(ARGV), table.remove(ARGV)
  local asked = { 'request', SHARD, NODE, client, counter, whole(#KEYS) }
  for _, key in ipairs(KEYS) do
    asked[#asked + 1] = key
  end
  for _, word in ipairs(ARGV) do
    asked[#asked + 1] = word
  end
  if mac(LINK, join(asked)) ~= proof then
    return nil, redis.error_reply('BADMAC this is not as it was sent')
  end
  local epoch = redis.call('GET', KEYS[2]) or ''
  redis.set_repl(redis.REPL_NONE)
  if redis.call('HGET', NONCES, 'epoch') ~= epoch then
    redis.call('DEL', NONCES, MARKS)
    redis.call('HSET', NONCES, 'epoch', epoch)
  end
  local last = redis.call('HGET', NONCES, 'of ' .. client)
  if last and tonumber(counter) <= tonumber(last) then
    return nil, redis.error_reply('REPLAYED request ' .. counter .. ' comes after ' .. last)
  end
  redis.call('HSET', NONCES, 'of ' .. client, counter)
  redis.set_repl(redis.REPL_ALL)
  return client, counter
end

-- Carries out `operate` on the data under KEYS[1] if the request is authentic and new and the data is what was
-- sealed; seals what it has become. The answer carries a code over all of it.
local function authenticated(operate)
  local client, counter = admitted()
  if not client then
    return counter
  end
  local key = KEYS[1]
  local before, kind = content(key)
  local sealed = redis.call('GET', SEALS .. key)
  local version, trouble = opened(key, kind, before, sealed)
  local body
  if trouble then
    body = '-BADSEAL ' .. trouble
  else
    body = encode(pcall(operate))
    local after = content(key)
    if after ~= before then
      local text = join({ key, whole(version + 1), ARGV[1], client, after })
      sealed = text .. mac(SEAL, join({ 'seal' }) .. text)
      redis.call('SET', SEALS .. key, sealed)
    end
  end
  sealed = sealed or ''
  local seq = redis.call('GET', KEYS[3]) or '0'
  local reply = { 'reply', SHARD, NODE, client, counter, key, ARGV[1], seq, sealed, body }
  return { body, seq, sealed, mac(LINK, join(reply)) }
end

-- Notes how far the replication stream reaches, right after a client's operation. It proves nothing by itself: who
-- sends it too late only makes evidence harder to come by, and before its operation it is refused.
local function mark(client, counter)
  if redis.call('HGET', NONCES, 'of ' .. client) ~= counter then
    return 0
  end
  local offset = string.match(redis.call('INFO', 'replication'), 'master_repl_offset:(%d+)')
  redis.set_repl(redis.REPL_NONE)
  redis.call('HSET', MARKS, client, counter .. ':' .. offset)
  redis.set_repl(redis.REPL_ALL)
  return 1
end

-- How many replicas have confirmed everything up to the mark, and the epoch of the data after that, with a code.
local function evidence(client, counter, epoch_key)
  local marked, offset = string.match(redis.call('HGET', MARKS, client) or '', '^(%d+):(%d+)$')
  local copies, seen = 0, {}
  if marked == counter then
    local line = 'slave%d+:ip=([^,]*),port=(%d+),state=(%a+),offset=(%d+)'
    for ip, port, state, confirmed in string.gmatch(redis.call('INFO', 'replication'), line) do
      local replica = ip .. ':' .. port -- one that has reconnected is listed twice for a while
      if state == 'online' and tonumber(confirmed) >= tonumber(offset) and not seen[replica] then
        copies, seen[replica] = copies + 1, true
      end
    end
  end
  local epoch = redis.call('GET', epoch_key) or ''
  local reply = { 'evidence', SHARD, NODE, client, counter, epoch, whole(copies) }
  return { whole(copies), epoch, mac(LINK, join(reply)) }
end

