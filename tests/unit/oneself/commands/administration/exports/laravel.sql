-- MySQL dump 10.13
INSERT INTO `migrations` (`id`, `migration`, `batch`) VALUES (1,'2014_10_12_000000_create_users_table',1);
INSERT INTO `users` (`id`, `name`, `email`, `email_verified_at`, `password`, `remember_token`, `created_at`, `updated_at`) VALUES
(1, 'Alice O\'Chen, née "Doe"', 'alice@example.com', '2024-05-06 07:08:09', '$2y$04$vF2AS/d2V8wlNkYDjY6LtOrOc2NsD500FiMLDYiONxnIrX2Za.jqO', NULL, '2024-05-06 07:08:09', NULL),
(2, 'Bob ''B'' (; )', 'bob@example.com', NULL, '$argon2i$v=19$m=4096,t=3,p=1$AAECAwQFBgcICQoLDA0ODw$LRyeWnLsuUdsmG0M06bUJlsG66qDMVWMmqve7Zu3WK4', 'x', NULL, NULL);
