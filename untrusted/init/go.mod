module glovebox/init

go 1.26
