#!lua flags=allow-oom
-- Put a letter among the dead letters; a counter that led to it begins anew.
add_letter(dead, letter, most_letters)
if counter then redis.call('DEL', counter) end
