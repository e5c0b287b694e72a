//! A caller that forges what HTTP tells the application.
