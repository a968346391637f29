-- The operations on one key, by name. This file defines and executes nothing: who sends it adds a line that calls
-- apply, and may put checks of its own before that line.
--
-- Every operation decides before its first write, and writes nothing after an error.
local ops = {}

local OK = redis.status_reply('OK')

-- Register: a string.
function ops.get(key)
  return redis.call('GET', key)
end

function ops.set(key, value)
  redis.call('SET', key, value)
  return OK
end

function ops.cas(key, expected, new)
  if redis.call('GET', key) ~= expected then
    return 0
  end
  redis.call('SET', key, new)
  return 1
end

-- Counter: a string that is an integer. Answered as text, since a Lua number is exact only up to 2^53.
function ops.add(key, amount)
  redis.call('INCRBY', key, amount)
  return redis.call('GET', key)
end

ops.count = ops.get

-- List, and the queue that is one.
function ops.append(key, element)
  redis.call('RPUSH', key, element)
  return OK
end

function ops.list(key)
  return redis.call('LRANGE', key, 0, -1)
end

ops.enqueue = ops.append

function ops.dequeue(key)
  return redis.call('LPOP', key)
end

-- Set.
function ops.insert(key, element)
  redis.call('SADD', key, element)
  return OK
end

function ops.members(key)
  return redis.call('SMEMBERS', key)
end

-- Bank: a hash from account to balance.
function ops.open(key, ...)
  if redis.call('HLEN', key) == 0 then
    redis.call('HSET', key, ...)
  end
  return OK
end

function ops.transfer(key, from, to, amount)
  local balances = redis.call('HMGET', key, from, to)
  if not balances[1] or not balances[2] or tonumber(balances[1]) < tonumber(amount) then
    return 0
  end
  redis.call('HINCRBY', key, from, '-' .. amount)
  redis.call('HINCRBY', key, to, amount)
  return 1
end

function ops.balances(key)
  return redis.call('HGETALL', key)
end

-- Guarded register: a hash of the greatest token seen and the value written with it.
function ops.guarded(key, token, value)
  local seen = redis.call('HGET', key, 'token')
  if seen and tonumber(token) < tonumber(seen) then
    return 0
  end
  redis.call('HSET', key, 'token', token, 'value', value)
  return 1
end

function ops.claim(key, token)
  local seen = redis.call('HGET', key, 'token')
  if seen and tonumber(token) < tonumber(seen) then
    return redis.error_reply('STALETOKEN a greater token has been seen')
  end
  redis.call('HSET', key, 'token', token)
  return redis.call('HGET', key, 'value')
end

ops['guarded-read'] = function(key)
  return redis.call('HGET', key, 'value')
end

-- Carries out the operation named by argv[first] on key; its arguments follow in argv.
local function apply(key, argv, first)
  local op = ops[argv[first]]
  if not op then
    return redis.error_reply('ERR unknown operation ' .. tostring(argv[first]))
  end
  return op(key, unpack(argv, first + 1))
end
